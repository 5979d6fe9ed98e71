//! Numbers and words that are the same in every run, as in `bench.h`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

pub const SEED: u64 = 20_240_521;

/// A map whose order does not change from run to run.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

pub struct Rng(u64);

impl Rng {
    /// One multiplication apart, so that neighbouring streams do not start alike.
    pub fn new(stream: u64) -> Rng {
        Rng((SEED + stream).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Marsaglia's xorshift with a multiplication at the end; the high bits are the good ones.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Uniform enough below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.next()) * end as u64) >> 32) as usize
    }

    /// Uniform enough in low..=high.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Small numbers are much more frequent, as words are in a text.
    pub fn skewed(&mut self, end: usize) -> usize {
        let shift = self.below(12);
        self.below((end >> shift).max(1))
    }

    /// Appends a pronounceable word that belongs to `number`.
    pub fn word(number: usize, into: &mut String) {
        const SYLLABLES: [&str; 16] = [
            "ka", "lo", "mi", "ter", "san", "ve", "dor", "pul", "ni", "ra", "stu", "gel", "om",
            "ex", "by", "qua",
        ];
        let mut rest = number;
        loop {
            into.push_str(SYLLABLES[rest & 15]);
            rest >>= 4;
            if rest == 0 {
                return;
            }
        }
    }
}

/// The checksum of a sequence.
pub fn mix(sum: u64, value: u64) -> u64 {
    (sum ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
}

/// The checksum of bytes.
pub fn mix_bytes(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(mix(sum, bytes.len() as u64), |sum, byte| mix(sum, u64::from(*byte)))
}
