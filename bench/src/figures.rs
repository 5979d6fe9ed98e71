//! From runs to figures: minimum, median, ratios between allocators, geometric means.

use crate::launch::Run;
use crate::library::BASE;
use serde::{Deserialize, Serialize};

/// All that was measured of one allocator over one workload.
pub struct Sample {
    pub runs: Vec<Run>,
    pub calls: Option<Calls>,
}

/// System calls of one more run, which is not timed.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub struct Calls {
    pub total: u64,
    /// Those that get, change and return memory.
    pub memory: u64,
}

pub enum Cell {
    Done(Sample),
    Failed(String),
    /// There is no such program for this allocator.
    Absent,
}

impl Cell {
    pub fn done(&self) -> Option<&Sample> {
        match self {
            Cell::Done(sample) => Some(sample),
            _ => None,
        }
    }
}

/// Workloads of one kind; each has a mean of its own.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// C programs of ours, each about one thing.
    Own,
    /// Programs of the system.
    Real,
    /// Rust programs, linked with the allocator instead of running under a preload.
    Rust,
}

impl Group {
    pub const ALL: [Group; 3] = [Group::Own, Group::Real, Group::Rust];

    pub fn name(self) -> &'static str {
        match self {
            Group::Own => "own",
            Group::Real => "real",
            Group::Rust => "rust",
        }
    }
}

/// The measures of which means are taken, with their names in reports.
pub const SCOPES: [(&str, &[Group]); 4] = [
    ("own", &[Group::Own]),
    ("real", &[Group::Real]),
    ("rust", &[Group::Rust]),
    ("all", &Group::ALL),
];

pub struct Row {
    pub workload: String,
    pub group: Group,
    pub weight: f64,
    /// In the order of `Race::names`.
    pub cells: Vec<Cell>,
}

pub struct Race {
    pub names: Vec<String>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Measure {
    TimeMin,
    TimeMedian,
    CpuMin,
    CpuMedian,
    Peak,
    Faults,
    Calls,
}

pub const MEASURES: [(Measure, &str); 7] = [
    (Measure::TimeMin, "time_min"),
    (Measure::TimeMedian, "time_median"),
    (Measure::CpuMin, "cpu_min"),
    (Measure::CpuMedian, "cpu_median"),
    (Measure::Peak, "peak_median"),
    (Measure::Faults, "minor_faults_median"),
    (Measure::Calls, "system_calls"),
];

/// The value in the middle; of two, their mean. Sorts what it is given, which is not empty.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        (values[half - 1] + values[half]) / 2.0
    }
}

impl Measure {
    /// The value of one run, where runs have it.
    pub fn of_run(self, run: &Run) -> Option<f64> {
        let value = match self {
            Measure::TimeMin | Measure::TimeMedian => run.wall_ns,
            Measure::CpuMin | Measure::CpuMedian => run.user_us + run.sys_us,
            Measure::Peak => run.peak_kib,
            Measure::Faults => run.minor_faults,
            Measure::Calls => return None,
        };
        Some(value as f64)
    }

    pub fn of(self, sample: &Sample) -> Option<f64> {
        if self == Measure::Calls {
            return sample.calls.map(|calls| calls.total as f64);
        }
        let mut values: Vec<f64> = sample.runs.iter().filter_map(|r| self.of_run(r)).collect();
        if values.is_empty() {
            return None;
        }
        Some(match self {
            Measure::TimeMin | Measure::CpuMin => values.into_iter().fold(f64::INFINITY, f64::min),
            _ => median(&mut values),
        })
    }
}

impl Race {
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    pub fn row(&self, workload: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.workload == workload)
    }

    /// One allocator's figure divided by another's.
    pub fn against(&self, row: &Row, one: usize, other: usize, measure: Measure) -> Option<f64> {
        let one = measure.of(row.cells[one].done()?)?;
        let other = measure.of(row.cells[other].done()?)?;
        (other > 0.0).then_some(one / other)
    }

    pub fn ratio(&self, row: &Row, allocator: usize, measure: Measure) -> Option<f64> {
        self.against(row, allocator, self.index(BASE)?, measure)
    }

    pub fn rows_of(&self, groups: &[Group]) -> impl Iterator<Item = (usize, &Row)> {
        let groups = groups.to_vec();
        self.rows.iter().enumerate().filter(move |(_, row)| groups.contains(&row.group))
    }

    /// Over the workloads that both finished, and the number of these.
    pub fn mean_against(
        &self,
        groups: &[Group],
        one: usize,
        other: usize,
        measure: Measure,
    ) -> Option<(f64, usize)> {
        let ratios = self
            .rows_of(groups)
            .filter_map(|(_, row)| Some((row.weight, self.against(row, one, other, measure)?)));
        weighted_mean(ratios)
    }

    pub fn mean(
        &self,
        groups: &[Group],
        allocator: usize,
        measure: Measure,
    ) -> Option<(f64, usize)> {
        self.mean_against(groups, allocator, self.index(BASE)?, measure)
    }
}

/// The geometric mean of (weight, ratio).
fn weighted_mean(ratios: impl Iterator<Item = (f64, f64)>) -> Option<(f64, usize)> {
    let (mut logs, mut weights, mut count) = (0.0, 0.0, 0);
    for (weight, ratio) in ratios {
        logs += weight * ratio.max(f64::MIN_POSITIVE).ln();
        weights += weight;
        count += 1;
    }
    (weights > 0.0).then(|| ((logs / weights).exp(), count))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run that takes this many milliseconds and KiB.
    pub fn run_of(ms: u64, kib: u64) -> Run {
        Run {
            wall_ns: ms * 1_000_000,
            user_us: ms * 1000,
            sys_us: 0,
            peak_kib: kib,
            minor_faults: kib / 4,
            major_faults: 0,
        }
    }

    /// Two allocators, one row for each list of times.
    pub fn race_of(rows: &[(&[u64], &[u64], Group)]) -> Race {
        let cell = |times: &[u64]| {
            let runs = times.iter().map(|&ms| run_of(ms, 1000)).collect();
            Cell::Done(Sample { runs, calls: None })
        };
        Race {
            names: vec!["ours".to_owned(), BASE.to_owned()],
            rows: rows
                .iter()
                .enumerate()
                .map(|(at, (ours, base, group))| Row {
                    workload: format!("w{at}"),
                    group: *group,
                    weight: 1.0,
                    cells: vec![cell(ours), cell(base)],
                })
                .collect(),
        }
    }

    #[test]
    fn a_mean_is_over_its_groups_only() {
        let race = race_of(&[
            (&[20, 30], &[10, 10], Group::Own),
            (&[80, 80], &[10, 10], Group::Own),
            (&[1, 1], &[10, 10], Group::Rust),
        ]);
        let (mean, count) = race.mean(&[Group::Own], 0, Measure::TimeMin).unwrap();
        assert!((mean - 4.0).abs() < 1e-9 && count == 2);
        assert!(race.mean(&[Group::Real], 0, Measure::TimeMin).is_none());
    }

    #[test]
    fn a_row_that_one_has_not_finished_does_not_count() {
        let mut race = race_of(&[(&[20], &[10], Group::Own), (&[30], &[10], Group::Own)]);
        race.rows[1].cells[0] = Cell::Absent;
        let (mean, count) = race.mean(&[Group::Own], 0, Measure::TimeMedian).unwrap();
        assert!((mean - 2.0).abs() < 1e-9 && count == 1);
    }
}
