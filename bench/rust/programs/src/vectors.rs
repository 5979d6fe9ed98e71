//! Vectors that grow by push, the way most vectors do: `vectors ROUNDS`.
//! Each growth is a realloc. Many short rows, fewer long columns, one that takes all.

use crate::rng::{mix, Rng};

const ROWS: usize = 20_000;
const COLUMNS: usize = 24;

pub fn run(args: &[usize]) -> u64 {
    let mut sum = 0;
    for round in 0..args[0] {
        let mut rng = Rng::new(round as u64);
        // Rows grow a bit each in turn, so that the neighbour of a block is rarely free.
        let mut rows: Vec<Vec<u32>> = Vec::new();
        for _ in 0..ROWS {
            rows.push(Vec::new());
        }
        for _ in 0..ROWS * 16 {
            let at = rng.skewed(ROWS);
            let value = rng.next();
            rows[at].push(value);
        }
        let mut columns: Vec<Vec<u64>> = vec![Vec::new(); COLUMNS];
        for (number, row) in rows.iter().enumerate() {
            for value in row {
                columns[(number + *value as usize) % COLUMNS].push(u64::from(*value));
            }
        }
        let mut all = Vec::new();
        for column in columns {
            all.extend_from_slice(&column);
            let mut sorted = column;
            sorted.retain(|v| v & 7 != 0);
            sorted.shrink_to_fit();
            sum = mix(sum, sorted.len() as u64);
        }
        sum = all.iter().fold(sum, |sum, value| mix(sum, *value));
    }
    sum
}
