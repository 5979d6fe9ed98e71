//! Strings as scripts and web programs treat them: `strings LINES`.
//! format!, split, replace, join, sort; short blocks that live for a moment beside some that stay.

use crate::rng::{mix, mix_bytes, Map, Rng};

fn line(rng: &mut Rng) -> String {
    let words = rng.between(5, 14);
    let mut words: Vec<String> = (0..words)
        .map(|_| {
            let mut word = String::new();
            Rng::word(rng.skewed(60_000), &mut word);
            word
        })
        .collect();
    if let Some(first) = words.first_mut() {
        *first = format!("{}{}", first[..1].to_uppercase(), &first[1..]);
    }
    words.join(" ") + "."
}

pub fn run(args: &[usize]) -> u64 {
    let mut rng = Rng::new(2);
    let mut sum = 0;
    let mut titles = Vec::new();
    let mut seen: Map<String, String> = Map::default();
    for number in 0..args[0] {
        let text = line(&mut rng);
        let slug: String = text
            .split(' ')
            .map(|word| word.trim_end_matches('.').to_lowercase())
            .filter(|word| word.len() > 4)
            .collect::<Vec<String>>()
            .join("-");
        let path = format!("/archive/{:04}/{}/{slug}.html", number % 1000, text.len());
        sum = mix_bytes(sum, path.replace("ka", "KA").as_bytes());
        for word in text.split_whitespace() {
            let key: String = word.chars().rev().take(6).collect();
            seen.insert(key, word.to_owned());
        }
        if number % 4 == 0 {
            titles.push(text);
        }
    }
    titles.sort();
    titles.dedup();
    let book = titles.concat();
    mix(mix_bytes(sum, &book.as_bytes()[book.len() / 2..]), seen.len() as u64)
}
