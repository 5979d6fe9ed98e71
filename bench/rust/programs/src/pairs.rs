//! What `count` counts: `Box::new` of a constant layout, and its drop.

use crate::rng::Rng;

/// 48 bytes, aligned to 8.
type Block = [u64; 6];

/// Replaces a random one of `live` boxes, so many times.
#[inline(never)]
pub fn run(numbers: &[usize]) -> u64 {
    let (live, pairs) = (numbers[0], numbers[1]);
    let mut rng = Rng::new(0);
    let mut sum = 0_u64;
    let mut blocks: Vec<Option<Box<Block>>> = (0..live).map(|_| None).collect();
    for i in 0..pairs as u64 {
        let at = &mut blocks[rng.below(live)];
        sum = sum.wrapping_mul(31) + at.as_ref().map_or(0, |block| block[0]);
        *at = None;
        *at = Some(Box::new([i; 6]));
    }
    sum
}
