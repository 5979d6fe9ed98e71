//! A small executor runs tasks that wait for each other: `futures TASKS ROUNDS`.
//! Each task is one boxed future of its own size, and calls boxed futures, as async programs do.

use crate::rng::{mix, mix_bytes, Rng};
use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// How many tasks the executor has at a time.
const UNDER_WAY: usize = 20_000;

type Task = Pin<Box<dyn Future<Output = u64> + Send>>;

/// The executor looks at every task anyway.
struct NoWake;

impl Wake for NoWake {
    fn wake(self: Arc<Self>) {}
}

async fn pause() {
    let mut first = true;
    poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Recursive, hence boxed.
fn resolve(depth: usize, name: String) -> Task {
    Box::pin(async move {
        if depth == 0 {
            pause().await;
            return mix_bytes(0, name.as_bytes());
        }
        let left = resolve(depth - 1, format!("{name}.l")).await;
        let right = resolve(depth - 1, format!("{name}.r")).await;
        mix(left, right)
    })
}

async fn request(number: usize, mut rng: Rng) -> u64 {
    let head = [number as u8; 160];
    let mut body = Vec::new();
    for _ in 0..rng.between(1, 6) {
        body.extend_from_slice(&head[..rng.between(16, 160)]);
        pause().await;
    }
    let mut name = String::new();
    Rng::word(rng.skewed(50_000), &mut name);
    let found = resolve(rng.below(3), name).await;
    mix(mix_bytes(found, &body), u64::from(head[159]))
}

async fn tick(number: usize) -> u64 {
    pause().await;
    number as u64
}

pub fn run(args: &[usize]) -> u64 {
    let (tasks, rounds) = (args[0], args[1]);
    let waker = Waker::from(Arc::new(NoWake));
    let mut context = Context::from_waker(&waker);
    let mut sum = 0u64;
    for round in 0..rounds {
        let mut started = 0;
        let mut queue: VecDeque<Task> = VecDeque::new();
        loop {
            while started < tasks && queue.len() < UNDER_WAY {
                let number = round * tasks + started;
                queue.push_back(if number % 3 == 0 {
                    Box::pin(tick(number))
                } else {
                    Box::pin(request(number, Rng::new(number as u64)))
                });
                started += 1;
            }
            let Some(mut task) = queue.pop_front() else {
                break;
            };
            match task.as_mut().poll(&mut context) {
                Poll::Ready(value) => sum = mix(sum, value),
                Poll::Pending => queue.push_back(task),
            }
        }
    }
    sum
}
