//! From runs to figures: minimum, median, ratios to the base, geometric means, the table.

use crate::launch::Run;
use crate::library::BASE;

/// The runs of one allocator over one workload, or why there are none.
pub type Cell = Result<Vec<Run>, String>;

pub struct Row {
    pub workload: String,
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
    Peak,
    Faults,
}

pub const MEASURES: [(Measure, &str); 5] = [
    (Measure::TimeMin, "time_min"),
    (Measure::TimeMedian, "time_median"),
    (Measure::CpuMin, "cpu_min"),
    (Measure::Peak, "peak_median"),
    (Measure::Faults, "minor_faults_median"),
];

fn sorted(runs: &[Run], value: impl Fn(&Run) -> u64) -> Vec<u64> {
    let mut values: Vec<u64> = runs.iter().map(value).collect();
    values.sort_unstable();
    values
}

/// The value in the middle; of two, their mean.
fn median(sorted: &[u64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[half] as f64
    } else {
        (sorted[half - 1] + sorted[half]) as f64 / 2.0
    }
}

impl Measure {
    /// Of at least one run.
    pub fn of(self, runs: &[Run]) -> f64 {
        match self {
            Measure::TimeMin => sorted(runs, |r| r.wall_ns)[0] as f64,
            Measure::TimeMedian => median(&sorted(runs, |r| r.wall_ns)),
            Measure::CpuMin => sorted(runs, |r| r.user_us + r.sys_us)[0] as f64,
            Measure::Peak => median(&sorted(runs, |r| r.peak_kib)),
            Measure::Faults => median(&sorted(runs, |r| r.minor_faults)),
        }
    }
}

impl Race {
    pub fn ratio(&self, row: &Row, allocator: usize, measure: Measure) -> Option<f64> {
        let base = self.names.iter().position(|n| n == BASE)?;
        let base = measure.of(row.cells[base].as_ref().ok()?);
        let own = measure.of(row.cells[allocator].as_ref().ok()?);
        (base > 0.0).then_some(own / base)
    }

    /// Over the workloads that the allocator finished; with how many those are.
    pub fn mean(&self, allocator: usize, measure: Measure) -> Option<(f64, usize)> {
        let mut logs = 0.0;
        let mut weights = 0.0;
        let mut count = 0;
        for row in &self.rows {
            if let Some(ratio) = self.ratio(row, allocator, measure) {
                logs += row.weight * ratio.max(f64::MIN_POSITIVE).ln();
                weights += row.weight;
                count += 1;
            }
        }
        (weights > 0.0).then(|| ((logs / weights).exp(), count))
    }

    /// time / peak, each as a ratio to the base.
    pub fn table(&self) -> String {
        let mut text = format!("{:<14}", "time / peak");
        for name in &self.names {
            text += &format!(" {name:>13}");
        }
        text.push('\n');
        for row in &self.rows {
            text += &format!("{:<14}", row.workload);
            for (at, cell) in row.cells.iter().enumerate() {
                let time = self.ratio(row, at, Measure::TimeMin);
                let peak = self.ratio(row, at, Measure::Peak);
                let shown = match (cell, time, peak) {
                    (Err(_), _, _) => "FAILED".to_owned(),
                    (Ok(_), Some(time), Some(peak)) => format!("{time:.2} / {peak:.2}"),
                    _ => "no base".to_owned(),
                };
                text += &format!(" {shown:>13}");
            }
            text.push('\n');
        }
        for (title, time) in [
            ("mean, minimum", Measure::TimeMin),
            ("mean, median", Measure::TimeMedian),
            ("mean, CPU", Measure::CpuMin),
        ] {
            text += &format!("{title:<14}");
            for at in 0..self.names.len() {
                let shown = match (self.mean(at, time), self.mean(at, Measure::Peak)) {
                    (Some((time, count)), Some((peak, _))) => {
                        let partial = if count < self.rows.len() { "*" } else { "" };
                        format!("{time:.2} / {peak:.2}{partial}")
                    }
                    _ => "-".to_owned(),
                };
                text += &format!(" {shown:>13}");
            }
            text.push('\n');
        }
        text
    }
}
