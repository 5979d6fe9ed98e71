//! A log is searched with regular expressions and summed up: `regex LINES`.
//! Compiling an expression builds automata; matches become strings of their own.

use crate::rng::{mix, mix_bytes, Rng};
use regex::{Captures, Regex};
use std::collections::BTreeMap;

fn log(lines: usize, rng: &mut Rng) -> String {
    const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];
    let mut text = String::new();
    for line in 0..lines {
        let mut path = String::from("/");
        Rng::word(rng.skewed(5000), &mut path);
        path.push('/');
        Rng::word(rng.skewed(100_000), &mut path);
        text += &format!(
            "10.0.{}.{} [{:02}:{:02}:{:02}] \"{} {path}\" {} {}\n",
            rng.below(256),
            rng.below(256),
            line / 3600 % 24,
            line / 60 % 60,
            line % 60,
            METHODS[rng.below(4)],
            [200, 200, 200, 304, 404, 500][rng.below(6)],
            rng.below(100_000),
        );
    }
    text
}

pub fn run(args: &[usize]) -> u64 {
    let mut rng = Rng::new(8);
    let text = log(args[0], &mut rng);
    let mut sum = 0;
    let entry = Regex::new(
        r#"^(?<host>[\d.]+) \[(?<time>[\d:]+)\] "(?<method>[A-Z]+) (?<path>/\S*)" (?<code>\d{3}) (?<size>\d+)$"#,
    )
    .unwrap();
    let mut by_path: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for line in text.lines() {
        let Some(found) = entry.captures(line) else {
            continue;
        };
        let section = found["path"].splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        let place = by_path.entry(section).or_default();
        place.0 += found["size"].parse::<u64>().unwrap_or(0);
        if &found["code"] >= "400" {
            place.1.push(format!("{} {}", &found["host"], &found["time"]));
        }
    }
    for (path, (size, failures)) in &by_path {
        sum = mix_bytes(mix(sum, *size), path.as_bytes());
        sum = mix(sum, failures.iter().map(|f| f.len() as u64).sum());
    }
    // One expression per section, as a configuration has them.
    for path in by_path.keys().take(150) {
        let rule = format!(r"(?i)^{}(?:/[a-z]+|\.html?)*(?:\?(\w+=\w*&?)+)?$", regex::escape(path));
        let rule = Regex::new(&rule).unwrap();
        sum = mix(sum, by_path.keys().filter(|p| rule.is_match(p)).count() as u64);
    }
    let hidden = Regex::new(r"10\.0\.(\d+)\.(\d+)").unwrap();
    let hidden = hidden.replace_all(&text, |c: &Captures| format!("host-{}{}", &c[2], &c[1]));
    mix_bytes(sum, &hidden.as_bytes()[hidden.len() / 2..])
}
