//! A pipeline of threads that hand boxes on: `channels MESSAGES LINES`.
//! A message is allocated by the first thread, grown by the second, freed by the third; the first
//! channel is that of crossbeam, the second that of the standard library.

use crate::rng::{mix, mix_bytes, Rng};
use crossbeam_channel::bounded;
use std::sync::mpsc;
use std::thread;

/// How many messages may wait between two stages.
const WAITING: usize = 16_384;

struct Message {
    number: u64,
    name: String,
    fields: Vec<(u32, Box<[u8]>)>,
}

fn message(number: u64, rng: &mut Rng) -> Box<Message> {
    let mut name = String::new();
    Rng::word(rng.skewed(10_000), &mut name);
    let fields = (0..rng.between(1, 6))
        .map(|key| (key as u32, vec![number as u8; rng.between(4, 120)].into_boxed_slice()))
        .collect();
    Box::new(Message { number, name, fields })
}

fn line(messages: u64, stream: u64) -> u64 {
    let (to_second, from_first) = bounded::<Box<Message>>(WAITING);
    let (to_third, from_second) = mpsc::sync_channel::<(Box<Message>, String)>(WAITING);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut rng = Rng::new(stream);
            for number in 0..messages {
                if to_second.send(message(number, &mut rng)).is_err() {
                    return;
                }
            }
        });
        scope.spawn(move || {
            for mut message in from_first {
                let note = format!("{}:{}", message.name, message.fields.len());
                message.fields.retain(|(key, _)| key % 3 != 2);
                message.fields.push((99, note.as_bytes().into()));
                if to_third.send((message, note)).is_err() {
                    return;
                }
            }
        });
        let third = scope.spawn(move || {
            let mut sum = 0;
            for (message, note) in from_second {
                sum = mix(sum, message.number + note.len() as u64);
                for (key, bytes) in &message.fields {
                    sum = mix(sum, u64::from(*key) + bytes.len() as u64);
                }
                sum = mix_bytes(sum, message.name.as_bytes());
            }
            sum
        });
        third.join().unwrap()
    })
}

pub fn run(args: &[usize]) -> u64 {
    let (messages, lines) = (args[0] as u64, args[1]);
    thread::scope(|scope| {
        let lines: Vec<_> =
            (0..lines).map(|n| scope.spawn(move || line(messages, n as u64))).collect();
        lines.into_iter().fold(0, |sum, line| mix(sum, line.join().unwrap()))
    })
}
