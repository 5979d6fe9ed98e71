//! The targets of this allocator, computed from the measurements.
//!
//! A mean against a peer is over the workloads that both finished. The best peer of a group is the
//! one against which ours does worst, among those that finished at least half of the group.

use crate::bootstrap::interval;
use crate::figures::{Group, Measure, Race, Row, SCOPES};
use crate::library::{BASE, OURS};
use crate::touch_ratio;
use serde_json::{json, Value};

/// It has no caches of threads, and pays for that in time.
const SMALLEST_BY_DESIGN: &str = "glibc";
/// The peers whose memory a single workload is compared with.
const SMALL: [&str; 3] = ["mi217", "rpmalloc", "snmalloc"];

const TIME_TO_BEST: f64 = 0.92;
const TIME_TO_BASE: f64 = 0.80;
const MEMORY_TO_BASE: f64 = 0.90;
const SLOWER: f64 = 1.10;
const LARGER: f64 = 1.15;
const INSTRUCTIONS: f64 = 28.0;
const VECTOR_TO_TOUCH: f64 = 1.3;
const BUFFERS_TO_BEST: f64 = 1.0;
const STARTS_TO_LIBC: f64 = 1.05;
const TAIL_TO_BEST: f64 = 1.15;

pub struct Target {
    pub what: String,
    pub figure: String,
    /// None: not measured.
    pub met: Option<bool>,
}

impl Target {
    pub fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not measured",
        }
    }
}

fn target(what: String, result: Option<(String, bool)>) -> Target {
    match result {
        Some((figure, met)) => Target { what, figure, met: Some(met) },
        None => Target { what, figure: "-".to_owned(), met: None },
    }
}

/// The race, and what other commands measured where they have.
pub struct Data<'a> {
    pub race: &'a Race,
    pub report: &'a Value,
    pub count: Option<&'a Value>,
    pub touch: Option<&'a Value>,
    pub latency: Option<&'a Value>,
}

pub fn all(data: &Data) -> Vec<Target> {
    let mut targets = Vec::new();
    let race = data.race;
    let Some(ours) = race.index(OURS) else { return targets };
    for (scope, groups) in &SCOPES[..Group::ALL.len()] {
        means(race, ours, scope, groups, &mut targets);
    }
    targets.push(slower(race, ours));
    targets.push(larger(race, ours));
    targets.push(instructions(data.count));
    targets.push(instructions_in_rust(data.count));
    targets.push(vector(data.touch));
    targets.push(buffers(race, ours));
    targets.push(starts(race, ours));
    for call in ["malloc", "free"] {
        targets.push(tail(data.latency, call));
    }
    targets
}

/// All but ours, and older builds of ours that are given on the command line.
fn peers(race: &Race) -> Vec<usize> {
    (0..race.names.len()).filter(|at| !race.names[*at].starts_with(OURS)).collect()
}

/// The peer against which ours has the largest mean, and that mean.
fn best_peer(
    race: &Race,
    ours: usize,
    groups: &[Group],
    measure: Measure,
    without: Option<&str>,
) -> Option<(usize, f64)> {
    let rows = race.rows_of(groups).count();
    peers(race)
        .into_iter()
        .filter(|at| Some(race.names[*at].as_str()) != without)
        .filter_map(|at| {
            let (mean, count) = race.mean_against(groups, ours, at, measure)?;
            (2 * count >= rows).then_some((at, mean))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

fn means(race: &Race, ours: usize, scope: &str, groups: &[Group], targets: &mut Vec<Target>) {
    let best = |measure, without| {
        best_peer(race, ours, groups, measure, without)
            .map(|(at, mean)| (format!("{mean:.3} of {}", race.names[at]), mean))
    };
    let to_base = |measure| race.mean(groups, ours, measure).map(|(mean, _)| mean);
    // By minima; the medians stand beside them, because a difference means a busy machine.
    let time = best(Measure::TimeMin, None).map(|(text, mean)| {
        let medians = best(Measure::TimeMedian, None).map_or("-".to_owned(), |m| m.0);
        (format!("{text} (medians: {medians})"), mean <= TIME_TO_BEST)
    });
    targets.push(target(format!("{scope}: time <= {TIME_TO_BEST:.2} of the best peer"), time));
    let time = to_base(Measure::TimeMin).map(|mean| {
        let medians = to_base(Measure::TimeMedian);
        let medians = medians.map_or("-".to_owned(), |m| format!("{m:.3}"));
        (format!("{mean:.3} (medians: {medians})"), mean <= TIME_TO_BASE)
    });
    targets.push(target(format!("{scope}: time <= {TIME_TO_BASE:.2} of {BASE}"), time));
    let memory = to_base(Measure::Peak).map(|mean| (format!("{mean:.3}"), mean <= MEMORY_TO_BASE));
    targets.push(target(format!("{scope}: memory <= {MEMORY_TO_BASE:.2} of {BASE}"), memory));
    targets.push(target(
        format!("{scope}: memory below every peer but {SMALLEST_BY_DESIGN}"),
        best(Measure::Peak, Some(SMALLEST_BY_DESIGN)).map(|(text, mean)| (text, mean < 1.0)),
    ));
}

/// The smallest figure of these in one workload.
fn least(row: &Row, of: &[usize], measure: Measure) -> Option<(usize, f64)> {
    of.iter()
        .filter_map(|at| Some((*at, measure.of(row.cells[*at].done()?)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

/// A list that should be empty.
fn none_of(list: Vec<String>) -> Option<(String, bool)> {
    let met = list.is_empty();
    Some((if met { "none".to_owned() } else { list.join(", ") }, met))
}

/// Only where the whole interval is on one side.
fn slower(race: &Race, ours: usize) -> Target {
    let mut list = Vec::new();
    for (at, row) in race.rows.iter().enumerate() {
        let Some((peer, _)) = least(row, &peers(race), Measure::TimeMedian) else { continue };
        match interval((at, row), ours, peer, Measure::TimeMedian) {
            Some(i) if i.low > SLOWER => list.push(format!(
                "{} {:.2} to {:.2} of {}",
                row.workload, i.low, i.high, race.names[peer]
            )),
            _ => {}
        }
    }
    let what = format!("no workload's interval above {SLOWER:.2} of its best peer in time");
    target(what, none_of(list))
}

fn larger(race: &Race, ours: usize) -> Target {
    let small: Vec<usize> = SMALL.iter().filter_map(|name| race.index(name)).collect();
    let mut list = Vec::new();
    for row in &race.rows {
        let Some((peer, _)) = least(row, &small, Measure::Peak) else { continue };
        match race.against(row, ours, peer, Measure::Peak) {
            Some(ratio) if ratio > LARGER => {
                list.push(format!("{} {ratio:.2} of {}", row.workload, race.names[peer]));
            }
            _ => {}
        }
    }
    let what =
        format!("no workload's memory above {LARGER:.2} of the least of {}", SMALL.join(", "));
    target(what, none_of(list))
}

fn instructions(count: Option<&Value>) -> Target {
    let what = format!("instructions per pair <= {INSTRUCTIONS}");
    let result = count.and_then(|count| {
        let counts = count["counts"][OURS].as_object()?;
        let figures: Vec<(&String, f64)> =
            counts.iter().filter_map(|(k, v)| Some((k, v["library"].as_f64()?))).collect();
        let text: Vec<String> =
            figures.iter().map(|(live, n)| format!("{n:.1} with {live} live")).collect();
        let of = counts.get("version").and_then(Value::as_str).unwrap_or("unknown");
        (!figures.is_empty()).then(|| {
            let met = figures.iter().all(|(_, n)| *n <= INSTRUCTIONS);
            (format!("{} ({of})", text.join(", ")), met)
        })
    });
    target(what, result)
}

/// Where the size is a constant.
fn instructions_in_rust(count: Option<&Value>) -> Target {
    let result = count.and_then(|count| {
        let of = |language: &str| count["counts"][OURS]["constant"][language].as_f64();
        let (c, rust) = (of("c")?, of("rust")?);
        Some((format!("{rust:.1}, in C {c:.1}"), rust <= c))
    });
    target("instructions per pair in Rust, constant layout <= in C".to_owned(), result)
}

fn vector(touch: Option<&Value>) -> Target {
    let size = touch.and_then(|touch| touch["mebibytes"].as_str()).unwrap_or("512");
    let what = format!("vector to {size} MiB, cold <= {VECTOR_TO_TOUCH} of touching a mapping");
    let result = touch.and_then(|report| {
        let advice = touch_ratio::advice(report, OURS)?;
        let of = |advice: &str| touch_ratio::ratio(report, OURS, advice);
        let (plain, huge) = (of("plain")?, of("huge")?);
        let ratio = if advice == "huge" { huge } else { plain };
        let text = format!("{plain:.2} of plain, {huge:.2} of huge pages; ours asks for {advice}");
        Some((text, ratio <= VECTOR_TO_TOUCH))
    });
    target(what, result)
}

fn buffers(race: &Race, ours: usize) -> Target {
    let result = race.row("buffers").and_then(|row| {
        let (peer, _) = least(row, &peers(race), Measure::TimeMin)?;
        let ratio = race.against(row, ours, peer, Measure::TimeMin)?;
        Some((format!("{ratio:.2} of {}", race.names[peer]), ratio <= BUFFERS_TO_BEST))
    });
    target("buffers: not slower than the best peer".to_owned(), result)
}

fn starts(race: &Race, ours: usize) -> Target {
    let result = race.row("short").and_then(|row| {
        let libc = race.index("glibc")?;
        let least = race.against(row, ours, libc, Measure::CpuMin)?;
        let median = race.against(row, ours, libc, Measure::CpuMedian)?;
        Some((format!("{least:.3} (medians: {median:.3})"), least <= STARTS_TO_LIBC))
    });
    target(format!("short starts: CPU <= {STARTS_TO_LIBC:.2} of glibc"), result)
}

fn tail(latency: Option<&Value>, call: &str) -> Target {
    let result = latency.and_then(|latency| {
        let results = latency["results"].as_object()?;
        let of = |name: &str| results.get(name)?["median"][call]["p99.99"].as_f64();
        let ours = of(OURS)?;
        let (peer, best) = results
            .keys()
            .filter(|name| !name.starts_with(OURS))
            .filter_map(|name| Some((name, of(name)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        let ratio = ours / best;
        Some((format!("{ratio:.2} of {peer} ({ours:.0} ns)"), ratio <= TAIL_TO_BEST))
    });
    target(format!("{call}: 99.99th percentile <= {TAIL_TO_BEST:.2} of the best peer"), result)
}

pub fn to_json(targets: &[Target]) -> Value {
    targets
        .iter()
        .map(|t| json!({ "what": t.what, "figure": t.figure, "verdict": t.verdict() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::race_of;

    fn verdicts(ours: u64) -> Vec<(String, Option<bool>)> {
        let race = race_of(&[(&[ours, ours], &[100, 100], Group::Own)]);
        let report = json!({});
        let data = Data { race: &race, report: &report, count: None, touch: None, latency: None };
        all(&data).into_iter().map(|t| (t.what, t.met)).collect()
    }

    fn is(verdicts: &[(String, Option<bool>)], what: &str) -> Option<bool> {
        verdicts.iter().find(|(w, _)| w.starts_with(what)).unwrap().1
    }

    #[test]
    fn a_target_is_met_at_its_limit_and_not_beyond() {
        assert_eq!(is(&verdicts(80), "own: time <= 0.80 of mi217"), Some(true));
        assert_eq!(is(&verdicts(81), "own: time <= 0.80 of mi217"), Some(false));
        assert_eq!(is(&verdicts(81), "real: time"), None);
    }

    #[test]
    fn a_workload_that_is_surely_slower_is_listed() {
        assert_eq!(is(&verdicts(109), "no workload's interval"), Some(true));
        assert_eq!(is(&verdicts(111), "no workload's interval"), Some(false));
    }
}
