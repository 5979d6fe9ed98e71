//! A graph of shared nodes that several threads walk and change: `graph NODES ROUNDS`.
//! Reference counts decide which thread frees: often not the one that allocated.

use crate::rng::{mix, Rng};
use std::sync::{Arc, Mutex};
use std::thread;

const THREADS: usize = 4;

struct Node {
    value: u64,
    label: String,
    next: Mutex<Vec<Arc<Node>>>,
}

fn node(value: u64, rng: &mut Rng) -> Arc<Node> {
    let mut label = String::new();
    Rng::word(value as usize, &mut label);
    let next = Mutex::new(Vec::with_capacity(rng.below(4)));
    Arc::new(Node { value, label, next })
}

/// A layered graph: edges lead to older nodes only, so that no cycle keeps itself alive.
fn build(nodes: usize, rng: &mut Rng) -> Vec<Arc<Node>> {
    let mut all: Vec<Arc<Node>> = Vec::new();
    for value in 0..nodes {
        let new = node(value as u64, rng);
        for _ in 0..rng.below(4).min(all.len()) {
            let older = all.len() - 1 - rng.below(all.len().min(1000));
            new.next.lock().unwrap().push(Arc::clone(&all[older]));
        }
        all.push(new);
    }
    all
}

/// Walks from the nodes of one share and hangs new ones into the graph, in place of old edges.
fn work(share: Vec<Arc<Node>>, mut rng: Rng) -> (u64, Vec<Arc<Node>>) {
    let mut sum = 0u64;
    let mut kept = Vec::new();
    for start in share {
        let mut path = vec![Arc::clone(&start)];
        while path.len() < 12 {
            let here = Arc::clone(&path[path.len() - 1]);
            let next = here.next.lock().unwrap();
            let Some(first) = next.iter().min_by_key(|n| n.value) else {
                break;
            };
            path.push(Arc::clone(first));
        }
        // The sum may not contain what others change at the same time.
        sum = sum.wrapping_add(mix(start.value, start.label.len() as u64));
        let fresh = node(start.value, &mut rng);
        fresh.next.lock().unwrap().push(start);
        kept.push(fresh);
    }
    (sum, kept)
}

pub fn run(args: &[usize]) -> u64 {
    let (nodes, rounds) = (args[0], args[1]);
    let mut sum = 0;
    for round in 0..rounds {
        let mut all = build(nodes, &mut Rng::new(round as u64));
        for pass in 0..3 {
            let mut shares: Vec<Vec<Arc<Node>>> = vec![Vec::new(); THREADS];
            for (at, node) in all.drain(..).enumerate() {
                // In blocks that move on by one: no thread gets back what it made.
                shares[(at / 64 + pass) % THREADS].push(node);
            }
            let workers: Vec<_> = shares
                .into_iter()
                .enumerate()
                .map(|(at, share)| {
                    let rng = Rng::new((round * 100 + pass * 10 + at) as u64);
                    thread::spawn(move || work(share, rng))
                })
                .collect();
            for worker in workers {
                let (part, kept) = worker.join().unwrap();
                sum = mix(sum, part);
                all.extend(kept);
            }
        }
        for (at, node) in all.into_iter().enumerate() {
            if at % 3 == 0 {
                node.next.lock().unwrap().clear();
            }
            sum = mix(sum, node.value);
        }
    }
    sum
}
