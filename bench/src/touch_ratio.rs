//! What `touch` measured, as ratios: the workload `vector` to touching a fresh mapping.

use crate::record;
use serde_json::Value;

/// Of a library, the least time of its vector by the least time of touching with this advice.
pub fn ratio(report: &Value, library: &str, advice: &str) -> Option<f64> {
    let of = |kind: &str| {
        record::parse_runs(&report["results"][library][kind]).iter().map(|run| run.wall_ns).min()
    };
    Some(of("vector")? as f64 / of(advice)? as f64)
}

/// The advice that the library gives for such a block.
pub fn advice<'a>(report: &'a Value, library: &str) -> Option<&'a str> {
    report["results"][library]["advice"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_ratio_is_of_minima() {
        let run = |ns: u64| json!({ "wall_ns": ns });
        let report = json!({ "results": { "a": {
            "advice": "huge", "vector": [run(30), run(20)], "huge": [run(10), run(40)], "plain": [],
        } } });
        assert_eq!(ratio(&report, "a", "huge"), Some(2.0));
        assert_eq!(ratio(&report, "a", "plain"), None);
        assert_eq!(advice(&report, "a"), Some("huge"));
    }
}
