//! Intervals by the bootstrap: how far a ratio would move if the rounds were drawn again.
//!
//! Rounds are drawn with replacement, and both allocators of a ratio take the same ones, because a disturbance hits both. The statistic is the ratio of the medians. Minima are what
//! the first table shows, but a resampled minimum can only be larger than the one at hand, so that
//! its interval would say little. The ends are the 2.5th and 97.5th percentile of 2,000 draws.

use crate::figures::{median, Group, Measure, Race, Row};

const DRAWS: usize = 2000;
const SEED: u64 = 20_240_521;
/// The share outside at each end.
const TAIL: f64 = 0.025;

/// The measures whose ratios get an interval, under the names of `figures::MEASURES`.
pub const INTERVALS: [(Measure, &str); 4] = [
    (Measure::TimeMedian, "time_median"),
    (Measure::CpuMedian, "cpu_median"),
    (Measure::Peak, "peak_median"),
    (Measure::Faults, "minor_faults_median"),
];

#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Marsaglia's xorshift with a multiplication; the high bits are the good ones.
struct Random(u64);

impl Random {
    /// A stream for each row, so that rows are drawn independently of each other, and the same
    /// one for each pair of allocators in it.
    fn of_row(row: usize) -> Random {
        Random((SEED + row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * end as u64) >> 32) as usize
    }
}

fn ends(mut values: Vec<f64>) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let last = (values.len() - 1) as f64;
    let at = |share: f64| values[(share * last).round() as usize];
    Interval { low: at(TAIL), high: at(1.0 - TAIL) }
}

/// One ratio for each draw.
fn draws((at, row): (usize, &Row), one: usize, other: usize, measure: Measure) -> Option<Vec<f64>> {
    let values = |cell: usize| -> Option<Vec<f64>> {
        row.cells[cell].done()?.runs.iter().map(|run| measure.of_run(run)).collect()
    };
    let (one, other) = (values(one)?, values(other)?);
    if one.len() != other.len() || one.is_empty() {
        return None;
    }
    let mut random = Random::of_row(at);
    let (mut a, mut b) = (one.clone(), other.clone());
    let mut ratios = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        for slot in 0..one.len() {
            let round = random.below(one.len());
            a[slot] = one[round];
            b[slot] = other[round];
        }
        let below = median(&mut b);
        if below <= 0.0 {
            return None;
        }
        ratios.push(median(&mut a) / below);
    }
    Some(ratios)
}

/// Of one allocator's median divided by another's in one workload.
pub fn interval(
    row: (usize, &Row),
    one: usize,
    other: usize,
    measure: Measure,
) -> Option<Interval> {
    draws(row, one, other, measure).map(ends)
}

/// Of the geometric mean of those ratios.
pub fn mean_interval(
    race: &Race,
    groups: &[Group],
    one: usize,
    other: usize,
    measure: Measure,
) -> Option<Interval> {
    let mut logs = vec![0.0; DRAWS];
    let mut weights = 0.0;
    for (at, row) in race.rows_of(groups) {
        let Some(ratios) = draws((at, row), one, other, measure) else { continue };
        for (log, ratio) in logs.iter_mut().zip(ratios) {
            *log += row.weight * ratio.max(f64::MIN_POSITIVE).ln();
        }
        weights += row.weight;
    }
    (weights > 0.0).then(|| ends(logs.into_iter().map(|log| (log / weights).exp()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::race_of;

    #[test]
    fn steady_rounds_give_a_point() {
        let race = race_of(&[(&[20, 20, 20], &[10, 10, 10], Group::Own)]);
        let i = interval((0, &race.rows[0]), 0, 1, Measure::TimeMedian).unwrap();
        assert!(i.low == 2.0 && i.high == 2.0);
    }

    #[test]
    fn a_round_that_was_slow_for_both_widens_nothing() {
        let race = race_of(&[(&[20, 200, 40], &[10, 100, 20], Group::Own)]);
        let i = mean_interval(&race, &[Group::Own], 0, 1, Measure::TimeMedian).unwrap();
        assert!((i.low - 2.0).abs() < 1e-9 && (i.high - 2.0).abs() < 1e-9);
    }

    #[test]
    fn an_interval_holds_the_ratio_and_is_the_same_each_time() {
        let race = race_of(&[(&[20, 22, 25, 19, 30], &[10, 11, 9, 10, 12], Group::Own)]);
        let row = (0, &race.rows[0]);
        let i = interval(row, 0, 1, Measure::TimeMedian).unwrap();
        let again = interval(row, 0, 1, Measure::TimeMedian).unwrap();
        let ratio = race.against(row.1, 0, 1, Measure::TimeMedian).unwrap();
        assert!(i.low < ratio && ratio < i.high, "{i:?} {ratio}");
        assert!(i.low == again.low && i.high == again.high);
    }
}
