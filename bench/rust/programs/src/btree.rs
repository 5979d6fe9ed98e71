//! An ordered map that lives long and a binary tree of boxes: `btree OPERATIONS`.

use crate::rng::{mix, mix_bytes, Rng};
use std::collections::BTreeMap;

/// A search tree without balance; the keys come in random order.
#[derive(Default)]
struct Tree {
    root: Option<Box<Node>>,
}

struct Node {
    key: u32,
    count: u32,
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
}

impl Tree {
    fn insert(&mut self, key: u32) {
        let mut at = &mut self.root;
        while let Some(node) = at {
            at = match key.cmp(&node.key) {
                std::cmp::Ordering::Less => &mut node.left,
                std::cmp::Ordering::Greater => &mut node.right,
                std::cmp::Ordering::Equal => {
                    node.count += 1;
                    return;
                }
            };
        }
        *at = Some(Box::new(Node { key, count: 1, left: None, right: None }));
    }

    fn sum(node: &Option<Box<Node>>, sum: u64) -> u64 {
        match node {
            None => sum,
            Some(node) => {
                let left = Tree::sum(&node.left, sum);
                let here = mix(left, u64::from(node.key) * u64::from(node.count));
                Tree::sum(&node.right, here)
            }
        }
    }
}

pub fn run(args: &[usize]) -> u64 {
    let operations = args[0];
    let mut rng = Rng::new(3);
    let mut map: BTreeMap<u64, String> = BTreeMap::new();
    let mut sum = 0;
    for number in 0..operations {
        let key = rng.below(operations / 2 + 1) as u64;
        match rng.below(8) {
            0..=4 => {
                let mut name = String::new();
                Rng::word(key as usize, &mut name);
                map.insert(key, name);
            }
            5..=6 => {
                if let Some(name) = map.remove(&key) {
                    sum = mix_bytes(sum, name.as_bytes());
                }
            }
            _ => {
                for (other, name) in map.range(key..).take(4) {
                    sum = mix(sum, other + name.len() as u64);
                }
            }
        }
        if number % 16_384 == 0 {
            let mut tree = Tree::default();
            for _ in 0..4096 {
                tree.insert(rng.next() >> 12);
            }
            sum = Tree::sum(&tree.root, sum);
        }
    }
    map.iter().fold(sum, |sum, (key, name)| mix(sum, key + name.len() as u64))
}
