//! Vectors of zeros, as tables of algorithms are made: `zeroed ROUNDS`.
//! A sieve, edit distances, an image and its blurred copy; 200 bytes to 4 MiB, some hardly touched.

use crate::rng::{mix, Rng};

fn primes(end: usize) -> u64 {
    let mut composite = vec![0u8; end];
    let mut count = 0;
    for number in 2..end {
        if composite[number] == 0 {
            count += 1;
            for multiple in (number * number..end).step_by(number) {
                composite[multiple] = 1;
            }
        }
    }
    count
}

/// The whole table, because the path through it is the result.
fn distance(a: &[u8], b: &[u8]) -> u64 {
    let mut table = vec![vec![0u16; b.len() + 1]; a.len() + 1];
    for (at, row) in table.iter_mut().enumerate() {
        row[0] = at as u16;
    }
    for (at, first) in table[0].iter_mut().enumerate() {
        *first = at as u16;
    }
    for i in 0..a.len() {
        for j in 0..b.len() {
            let change = table[i][j] + u16::from(a[i] != b[j]);
            table[i + 1][j + 1] = change.min(table[i][j + 1] + 1).min(table[i + 1][j] + 1);
        }
    }
    u64::from(table[a.len()][b.len()])
}

fn blur(width: usize, height: usize, rng: &mut Rng) -> u64 {
    let mut image = vec![0u32; width * height];
    for _ in 0..width * height / 16 {
        let at = rng.below(width * height);
        image[at] = rng.next() & 255;
    }
    let mut out = vec![0u32; width * height];
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            let at = y * width + x;
            out[at] = (image[at - 1] + image[at + 1] + image[at - width] + image[at + width]) / 4;
        }
    }
    out.iter().step_by(61).fold(0, |sum, value| mix(sum, u64::from(*value)))
}

/// A table of buckets of which few are used: most pages are never written.
fn sparse(rng: &mut Rng) -> u64 {
    let mut table = vec![0u64; 1 << 19];
    for _ in 0..300 {
        let at = rng.below(table.len());
        table[at] += 1;
    }
    let mut sum = 0;
    for _ in 0..300 {
        sum += table[rng.below(1 << 19)];
    }
    sum
}

pub fn run(args: &[usize]) -> u64 {
    let mut rng = Rng::new(5);
    let mut sum = 0;
    for round in 0..args[0] {
        sum = mix(sum, primes(20_000 + round * 1000));
        for _ in 0..20 {
            let a: Vec<u8> = (0..rng.between(40, 200)).map(|_| rng.next() as u8 & 3).collect();
            let b: Vec<u8> = (0..rng.between(40, 200)).map(|_| rng.next() as u8 & 3).collect();
            sum = mix(sum, distance(&a, &b));
        }
        sum = mix(sum, blur(320, 240 + round, &mut rng));
        sum = mix(sum, sparse(&mut rng));
    }
    sum
}
