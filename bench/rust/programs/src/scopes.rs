//! Work split over short threads: `scopes ROUNDS LENGTH`.
//! Each thread sorts a part of a list, counts words in it and returns vectors that others merge.

use crate::rng::{mix, Map, Rng};
use std::thread;

const PARTS: usize = 8;

fn part(words: &[String]) -> (Vec<&str>, Map<char, usize>) {
    let mut sorted: Vec<&str> = words.iter().map(String::as_str).collect();
    sorted.sort_by_cached_key(|word| word.chars().rev().collect::<String>());
    let mut counts = Map::default();
    for word in words {
        for letter in word.chars() {
            *counts.entry(letter).or_insert(0) += 1;
        }
    }
    (sorted, counts)
}

fn merge<'a>(a: Vec<&'a str>, b: Vec<&'a str>) -> Vec<&'a str> {
    let mut out = Vec::new();
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.chars().rev().le(y.chars().rev()) => a.next(),
            (_, Some(_)) => b.next(),
            (Some(_), None) => a.next(),
            (None, None) => return out,
        };
        out.extend(next);
    }
}

pub fn run(args: &[usize]) -> u64 {
    let (rounds, length) = (args[0], args[1]);
    let mut sum = 0;
    for round in 0..rounds {
        let mut rng = Rng::new(round as u64);
        let words: Vec<String> = (0..length)
            .map(|_| {
                let mut word = String::new();
                Rng::word(rng.skewed(1 << 20), &mut word);
                word
            })
            .collect();
        let done: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = words
                .chunks(length.div_ceil(PARTS))
                .map(|chunk| scope.spawn(move || part(chunk)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut lists = Vec::new();
        for (list, counts) in done {
            sum = mix(sum, counts.values().map(|n| (n * n) as u64).sum());
            lists.push(list);
        }
        // Pairs of lists, in threads of their own, until one is left.
        while lists.len() > 1 {
            lists = thread::scope(|scope| {
                let mut threads = Vec::new();
                let mut pairs = lists.into_iter();
                while let Some(first) = pairs.next() {
                    let second = pairs.next().unwrap_or_default();
                    threads.push(scope.spawn(move || merge(first, second)));
                }
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
        }
        for word in lists.iter().flatten().step_by(97) {
            sum = mix(sum, word.len() as u64);
        }
    }
    sum
}
