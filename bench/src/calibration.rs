//! Compares the means of the peers with published ones.

use crate::figures::{Group, Measure, Race};
use crate::tools;
use serde::Deserialize;
use serde_json::{json, Value};

#[derive(Deserialize)]
pub struct Reference {
    pub library: String,
    pub time: f64,
    pub memory: f64,
    /// Why the values measure something else; then they are shown and not judged.
    pub note: Option<String>,
}

/// calibration.toml.
#[derive(Deserialize)]
pub struct Published {
    pub tolerance: f64,
    pub groups: Vec<Group>,
    #[serde(rename = "reference")]
    pub references: Vec<Reference>,
}

pub fn published() -> Result<Published, String> {
    let text = tools::read(&tools::root().join("calibration.toml"))?;
    toml::from_str(&text).map_err(|e| format!("calibration.toml: {e}"))
}

/// One line of the comparison; `None` where this race has no such library.
pub struct Line {
    pub reference: Reference,
    pub time: Option<f64>,
    pub memory: Option<f64>,
    pub workloads: usize,
    pub within: Option<bool>,
}

pub fn compare(race: &Race, published: Published) -> Vec<Line> {
    let Published { tolerance, groups, references } = published;
    let line = |reference: Reference| {
        let mean =
            |measure| race.index(&reference.library).and_then(|at| race.mean(&groups, at, measure));
        let (time, memory) = (mean(Measure::TimeMin), mean(Measure::Peak));
        let near = |here: f64, there: f64| (here - there).abs() <= tolerance + 1e-9;
        let within = match (time, memory, &reference.note) {
            (Some((time, _)), Some((memory, _)), None) => {
                Some(near(time, reference.time) && near(memory, reference.memory))
            }
            _ => None,
        };
        Line {
            time: time.map(|t| t.0),
            memory: memory.map(|m| m.0),
            workloads: time.map_or(0, |t| t.1),
            within,
            reference,
        }
    };
    references.into_iter().map(line).collect()
}

pub fn verdict(lines: &[Line]) -> &'static str {
    let judged: Vec<bool> = lines.iter().filter_map(|line| line.within).collect();
    match judged.iter().all(|within| *within) {
        _ if judged.is_empty() => "not measured",
        true => "calibrated",
        false => "off",
    }
}

pub fn to_json(lines: &[Line]) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "library": line.reference.library,
                "published": { "time": line.reference.time, "memory": line.reference.memory },
                "here": { "time": line.time, "memory": line.memory },
                "workloads": line.workloads,
                "within": line.within,
                "note": line.reference.note,
            })
        })
        .collect();
    json!(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::race_of;

    #[test]
    fn a_mean_outside_of_the_tolerance_is_off() {
        let race = race_of(&[(&[13], &[10], Group::Own)]);
        let against = |time| {
            let reference = Reference { library: "ours".to_owned(), time, memory: 1.0, note: None };
            let published = Published {
                tolerance: 0.12,
                groups: vec![Group::Own],
                references: vec![reference],
            };
            verdict(&compare(&race, published))
        };
        assert_eq!(against(1.2), "calibrated");
        assert_eq!(against(1.1), "off");
    }

    #[test]
    fn the_file_can_be_read() {
        assert!(!published().unwrap().references.is_empty());
    }
}
