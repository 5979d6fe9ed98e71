//! Hash tables that grow: an index of a text and groups of records: `hashmap WORDS`.

use crate::rng::{mix, Map, Rng};

pub fn run(args: &[usize]) -> u64 {
    let words = args[0];
    let mut rng = Rng::new(4);
    let mut index: Map<String, Vec<u32>> = Map::default();
    for position in 0..words {
        let mut word = String::new();
        Rng::word(rng.skewed(words / 3 + 1), &mut word);
        index.entry(word).or_default().push(position as u32);
    }
    // Invert it: from the number of occurrences to the words, and from the first occurrence to the
    // word.
    let mut by_count: Map<usize, Vec<&str>> = Map::default();
    let mut by_first: Map<u32, (usize, String)> = Map::default();
    for (word, places) in &index {
        by_count.entry(places.len()).or_default().push(word);
        by_first.insert(places[0], (places.len(), word.to_uppercase()));
    }
    let mut sum = 0;
    for (count, words) in &mut by_count {
        words.sort_unstable();
        sum ^= mix(*count as u64, words[words.len() / 2].len() as u64);
    }
    for position in 0..words as u32 {
        if let Some((count, word)) = by_first.remove(&position) {
            sum = mix(sum, (count + word.len()) as u64);
        }
    }
    sum
}
