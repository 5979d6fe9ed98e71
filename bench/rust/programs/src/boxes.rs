//! Boxes of types whose layout the compiler knows: `boxes LIVE REPLACEMENTS`.
//! An abstract syntax, a scene or a document is such a mixture; each kind has its own size.

use crate::rng::{mix, Rng};

/// The sizes of the boxes are 8, 24, 40, 72, 136 and 320 bytes.
enum Item {
    Number(Box<u64>),
    Point(Box<[f64; 3]>),
    Edge(Box<[u64; 5]>),
    Record(Box<[u64; 9]>),
    Matrix(Box<[u64; 17]>),
    Block(Box<[u64; 40]>),
}

fn item(rng: &mut Rng) -> Item {
    let n = rng.next();
    let value = u64::from(n >> 4);
    // Small ones are the frequent ones.
    match n & 15 {
        0..=3 => Item::Number(Box::new(value)),
        4..=8 => Item::Point(Box::new([value as f64; 3])),
        9..=11 => Item::Edge(Box::new([value; 5])),
        12..=13 => Item::Record(Box::new([value; 9])),
        14 => Item::Matrix(Box::new([value; 17])),
        _ => Item::Block(Box::new([value; 40])),
    }
}

fn value(item: &Item) -> u64 {
    match item {
        Item::Number(n) => **n,
        Item::Point(p) => p[1] as u64,
        Item::Edge(e) => e[2],
        Item::Record(r) => r[8],
        Item::Matrix(m) => m[16],
        Item::Block(b) => b[39],
    }
}

pub fn run(args: &[usize]) -> u64 {
    let (live, replacements) = (args[0], args[1]);
    let mut rng = Rng::new(1);
    let mut items: Vec<Item> = (0..live).map(|_| item(&mut rng)).collect();
    let mut sum = 0;
    for _ in 0..replacements {
        let at = rng.below(live);
        sum = mix(sum, value(&items[at]));
        items[at] = item(&mut rng);
    }
    items.iter().fold(sum, |sum, item| mix(sum, value(item)))
}
