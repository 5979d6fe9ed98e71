//! A web program's day: documents are built, written, read, changed and written: `json DOCUMENTS`.

use crate::rng::{mix, mix_bytes, Rng};
use serde_json::{json, Map, Value};

fn word(rng: &mut Rng) -> String {
    let mut word = String::new();
    Rng::word(rng.skewed(100_000), &mut word);
    word
}

/// An order with its lines, some optional parts and some nesting.
fn order(number: usize, rng: &mut Rng) -> Value {
    let lines: Vec<Value> = (0..rng.between(1, 12))
        .map(|line| {
            json!({
                "line": line,
                "sku": format!("{}-{:05}", word(rng), rng.below(100_000)),
                "quantity": rng.between(1, 9),
                "price": rng.below(100_000) as f64 / 100.0,
                "tags": [word(rng), word(rng)],
            })
        })
        .collect();
    let mut order = json!({
        "id": number,
        "customer": { "name": format!("{} {}", word(rng), word(rng)), "city": word(rng) },
        "lines": lines,
        "paid": rng.below(4) > 0,
        "note": null,
    });
    if rng.below(5) == 0 {
        let note: Vec<String> = (0..20).map(|_| word(rng)).collect();
        order["note"] = Value::from(note.join(" \"\n "));
    }
    order
}

fn change(order: &mut Value) -> Option<()> {
    let object = order.as_object_mut()?;
    let total: f64 = object
        .get("lines")?
        .as_array()?
        .iter()
        .filter_map(|line| Some(line["price"].as_f64()? * line["quantity"].as_f64()?))
        .sum();
    let customer = object.remove("customer")?;
    let mut invoice = Map::new();
    invoice.insert("to".to_owned(), customer);
    invoice.insert("total".to_owned(), Value::from((total * 100.0).round() as u64));
    object.insert("invoice".to_owned(), Value::Object(invoice));
    let lines = object.get_mut("lines")?.as_array_mut()?;
    lines.retain(|line| line["quantity"] != 1);
    Some(())
}

pub fn run(args: &[usize]) -> u64 {
    let mut rng = Rng::new(7);
    let mut sum = 0;
    let mut batch = Vec::new();
    for number in 0..args[0] {
        batch.push(order(number, &mut rng));
        if batch.len() < 2000 {
            continue;
        }
        let text = Value::from(std::mem::take(&mut batch)).to_string();
        let mut read: Value = serde_json::from_str(&text).expect("what was written can be read");
        for order in read.as_array_mut().into_iter().flatten() {
            change(order);
        }
        let text = serde_json::to_string_pretty(&read).expect("a value can be written");
        sum = mix_bytes(mix(sum, number as u64), text.as_bytes());
    }
    mix(sum, batch.len() as u64)
}
