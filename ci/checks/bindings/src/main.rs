//! Compares our hand-written bindings with the C headers, in both directions: every function with its
//! parameter types and its result, every constant with its value, every type. Also compares the
//! headers with the functions that the 2.1.7 interface must have (functions-2.1.7.txt).
//!
//! ```text
//! cargo run --manifest-path ci/checks/bindings/Cargo.toml
//! ```
//!
//! What the headers say is asked of libclang through bindgen, what the bindings say of syn. Both come
//! out as Rust, so one reader serves both (api.rs). `ci/faults bindings` plants one fault after the other
//! and expects each to be named.

mod api;
mod header;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

use api::Api;

/// Everything that takes part.
struct Inputs {
    /// The headers: what a C program includes.
    headers: Vec<PathBuf>,
    include_dir: PathBuf,
    /// Our Rust files, by path.
    bindings: BTreeMap<PathBuf, String>,
    /// functions-2.1.7.txt: name, tab, result and parameters in C.
    required: String,
}

fn main() {
    report(&Inputs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")));
}

impl Inputs {
    fn read(root: &Path) -> Inputs {
        let include_dir = root.join("c_src/include");
        // mimalloc-override.h and mimalloc-new-delete.h declare nothing of their own.
        let headers = ["mimalloc.h", "mimalloc-stats.h"]
            .map(|name| include_dir.join(name))
            .into_iter()
            .filter(|path| path.exists())
            .collect();
        let mut files = vec![root.join("src/lib.rs"), root.join("src/extended.rs")];
        for entry in fs::read_dir(root.join("src/extended")).expect("our own folder") {
            files.push(entry.expect("an entry").path());
        }
        let bindings = files.into_iter().map(|path| {
            let text = fs::read_to_string(&path).expect("a file of ours");
            (path, text)
        });
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions-2.1.7.txt");
        Inputs {
            headers,
            include_dir,
            bindings: bindings.collect(),
            required: fs::read_to_string(list).expect("the list beside this program"),
        }
    }
}

/// The three sides, and the differences between them.
struct Outcome {
    headers: Api,
    bindings: Api,
    required: Api,
    faults: Vec<String>,
}

fn compare(inputs: &Inputs) -> Outcome {
    let mut bindings = Api::default();
    for text in inputs.bindings.values() {
        bindings.add_source(text);
    }
    bindings.finish();
    let headers = header::read(&inputs.headers, &inputs.include_dir);
    let required = header::read_list(&inputs.required, &inputs.headers, &inputs.include_dir);

    let mut faults = Vec::new();
    let mut side = |what: &str, here: &str, there: &str, a: &BTreeMap<_, _>, b: &BTreeMap<_, _>| {
        for (name, value) in a {
            match b.get(name) {
                None => faults.push(format!("{what} {name}: in {here}, not in {there}")),
                Some(other) if other != value => faults
                    .push(format!("{what} {name}:\n    {here}: {value}\n    {there}: {other}")),
                Some(_) => {}
            }
        }
    };
    side("function", "headers", "bindings", &headers.functions, &bindings.functions);
    side("constant", "headers", "bindings", &headers.constants, &bindings.constants);
    side("type", "headers", "bindings", &headers.types, &bindings.types);
    // Differences were named above; this names only surplus declarations.
    let only_ours = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
        a.iter().filter(|(name, _)| !b.contains_key(*name)).map(own).collect::<BTreeMap<_, _>>()
    };
    for (what, a, b) in [
        ("function", &bindings.functions, &headers.functions),
        ("constant", &bindings.constants, &headers.constants),
        ("type", &bindings.types, &headers.types),
    ] {
        side(what, "bindings", "headers", &only_ours(a, b), b);
    }
    side("function", "2.1.7", "headers", &required.functions, &headers.functions);
    Outcome { headers, bindings, required, faults }
}

fn own((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn report(inputs: &Inputs) {
    let Outcome { headers, bindings, required, faults } = compare(inputs);
    for path in &inputs.headers {
        println!("header: {}", path.file_name().expect("a name").to_string_lossy());
    }
    println!("{:>12}  {:>9}  {:>9}  {:>6}", "", "functions", "constants", "types");
    for (name, api) in [("headers", &headers), ("bindings", &bindings)] {
        let counts = [api.functions.len(), api.constants.len(), api.types.len()];
        println!("{name:>12}  {:>9}  {:>9}  {:>6}", counts[0], counts[1], counts[2]);
    }
    println!("{:>12}  {:>9}", "2.1.7", required.functions.len());
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() {
        println!("bindings and headers agree");
    } else {
        println!("{} faults", faults.len());
        exit(1);
    }
}
