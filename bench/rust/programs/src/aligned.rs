//! Types with an alignment above that of malloc: `aligned ROUNDS`.
//! Counters that have a cache line of their own, vectors for SIMD, buffers for direct I/O.

use crate::rng::{mix, Rng};

#[derive(Clone)]
#[repr(align(64))]
struct Line {
    value: u64,
}

#[derive(Clone, Copy)]
#[repr(align(32))]
struct Lanes([f32; 8]);

#[repr(align(4096))]
struct Sector([u8; 4096]);

fn value(lines: &[Box<Line>]) -> u64 {
    lines.iter().fold(0, |sum, line| mix(sum, line.value))
}

pub fn run(args: &[usize]) -> u64 {
    let mut rng = Rng::new(6);
    let mut sum = 0;
    let mut lines: Vec<Box<Line>> = (0..4096).map(|n| Box::new(Line { value: n })).collect();
    let mut cache: Vec<Box<Sector>> =
        (0..1024).map(|n| Box::new(Sector([n as u8; 4096]))).collect();
    for round in 0..args[0] {
        for _ in 0..20_000 {
            let at = rng.below(lines.len());
            lines.push(Box::new(Line { value: u64::from(rng.next()) }));
            sum = mix(sum, lines.swap_remove(at).value);
        }
        // Grown by push: realloc with an alignment.
        let mut columns: Vec<Vec<Lanes>> = vec![Vec::new(); 64];
        for number in 0..4000 {
            columns[rng.below(64)].push(Lanes([number as f32; 8]));
        }
        for column in &columns {
            let total = column.iter().fold([0f32; 8], |mut total, lanes| {
                total.iter_mut().zip(lanes.0).for_each(|(t, l)| *t += l);
                total
            });
            sum = mix(sum, total[round % 8] as u64);
        }
        // Sectors are read, written, and leave the cache.
        for _ in 0..300 {
            let at = rng.below(cache.len());
            let byte = rng.next() as u8;
            sum = mix(sum, u64::from(cache[at].0[usize::from(byte) * 16]));
            cache.push(Box::new(Sector([byte; 4096])));
            cache.swap_remove(at);
        }
        // One padded counter per worker, as pools have them.
        let mut counters = vec![Line { value: 0 }; rng.between(2, 64)];
        for (at, counter) in counters.iter_mut().enumerate() {
            counter.value += at as u64;
        }
        sum = mix(sum, counters.iter().map(|c| c.value).sum());
    }
    mix(sum, value(&lines))
}
