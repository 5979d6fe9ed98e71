//! A compressor: matches are found, symbols counted and coded, and all is undone: `compress BLOCKS`.
//! Each block has its own tables, so that there are many vectors of 100 bytes to 300 KiB.

use crate::rng::{mix, mix_bytes, Rng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const BLOCK: usize = 96 * 1024;
const HASH_BITS: usize = 14;

enum Token {
    Literals(Vec<u8>),
    Copy { distance: u16, length: u16 },
}

fn hash(bytes: &[u8]) -> usize {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (word.wrapping_mul(2_654_435_761) >> (32 - HASH_BITS)) as usize
}

fn tokens(data: &[u8]) -> Vec<Token> {
    // The last places of each hash.
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); 1 << HASH_BITS];
    let mut out = Vec::new();
    let mut literals = Vec::new();
    let mut at = 0;
    while at + 4 <= data.len() {
        let chain = &mut places[hash(&data[at..])];
        let mut best = (0, 0);
        for place in chain.iter().rev().take(8) {
            let place = *place as usize;
            let limit = (data.len() - at).min(0xffff);
            let length = (0..limit).take_while(|i| data[place + i] == data[at + i]).count();
            if length > best.0 && at - place <= 0xffff {
                best = (length, at - place);
            }
        }
        chain.push(at as u32);
        if best.0 >= 6 {
            if !literals.is_empty() {
                out.push(Token::Literals(std::mem::take(&mut literals)));
            }
            out.push(Token::Copy { distance: best.1 as u16, length: best.0 as u16 });
            at += best.0;
        } else {
            literals.push(data[at]);
            at += 1;
        }
    }
    literals.extend_from_slice(&data[at..]);
    out.push(Token::Literals(literals));
    out
}

enum Tree {
    Leaf(u8),
    Fork(Box<Tree>, Box<Tree>),
}

/// Huffman's tree; the numbers decide between equal weights.
fn tree(counts: &[u32; 256]) -> Tree {
    let mut trees: Vec<Option<Tree>> = Vec::new();
    let mut heap = BinaryHeap::new();
    for (byte, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        heap.push(Reverse((*count, trees.len())));
        trees.push(Some(Tree::Leaf(byte as u8)));
    }
    while let Some(Reverse((weight, first))) = heap.pop() {
        let Some(Reverse((other, second))) = heap.pop() else {
            return trees[first].take().unwrap_or(Tree::Leaf(0));
        };
        let left = Box::new(trees[first].take().unwrap_or(Tree::Leaf(0)));
        let right = Box::new(trees[second].take().unwrap_or(Tree::Leaf(0)));
        heap.push(Reverse((weight + other, trees.len())));
        trees.push(Some(Tree::Fork(left, right)));
    }
    Tree::Leaf(0)
}

fn codes(tree: &Tree, path: &mut Vec<bool>, into: &mut Vec<Vec<bool>>) {
    match tree {
        Tree::Leaf(byte) => into[usize::from(*byte)].clone_from(path),
        Tree::Fork(left, right) => {
            for (bit, side) in [(false, left), (true, right)] {
                path.push(bit);
                codes(side, path, into);
                path.pop();
            }
        }
    }
}

fn bytes(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Literals(bytes) => {
                out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Token::Copy { distance, length } => {
                out.extend_from_slice(&distance.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
    }
    out
}

fn coded(bytes: &[u8]) -> Vec<u8> {
    let mut counts = [0u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let mut table = vec![Vec::new(); 256];
    codes(&tree(&counts), &mut Vec::new(), &mut table);
    let mut out = Vec::new();
    let (mut word, mut bits) = (0u8, 0);
    for byte in bytes {
        for bit in &table[usize::from(*byte)] {
            word = word << 1 | u8::from(*bit);
            bits += 1;
            if bits == 8 {
                out.push(word);
                (word, bits) = (0, 0);
            }
        }
    }
    out.push(word);
    out
}

fn undone(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Literals(bytes) => out.extend_from_slice(bytes),
            Token::Copy { distance, length } => {
                for _ in 0..*length {
                    out.push(out[out.len() - usize::from(*distance)]);
                }
            }
        }
    }
    out
}

pub fn run(args: &[usize]) -> u64 {
    let mut rng = Rng::new(9);
    let mut sum = 0;
    let mut archive: Vec<Vec<u8>> = Vec::new();
    for _ in 0..args[0] {
        let mut text = String::new();
        while text.len() < BLOCK {
            Rng::word(rng.skewed(30_000), &mut text);
            text.push(' ');
        }
        let tokens = tokens(text.as_bytes());
        if undone(&tokens) != text.as_bytes() {
            return 0;
        }
        let block = coded(&bytes(&tokens));
        sum = mix_bytes(mix(sum, tokens.len() as u64), &block);
        archive.push(block);
    }
    mix(sum, archive.concat().len() as u64)
}
