//! Compares our hand-written bindings with the C headers, in both directions: every function with its
//! parameter types and its result, every constant with its value, every type. Also compares the
//! headers with the functions that the 2.1.7 interface must have (functions-2.1.7.txt). D15.108.
//!
//! ```text
//! cargo run --manifest-path ci/bindings/Cargo.toml
//! cargo run --manifest-path ci/bindings/Cargo.toml -- --self-test
//! ```
//!
//! What the headers say is asked of libclang through bindgen, what the bindings say of syn. Both come
//! out as Rust, so one reader serves both (api.rs). A self-test plants one fault after the other and
//! expects each to be named.

mod api;
mod header;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

use api::Api;

/// The text of everything that takes part, so that a self-test can change it.
#[derive(Clone)]
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let inputs = Inputs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(&inputs),
        ["--self-test"] => self_test(&inputs),
        _ => {
            eprintln!("usage: check-bindings [--self-test]");
            exit(2);
        }
    }
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

/// The three sides, and what is wrong between them.
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
    // What differs was named above; here only what is too much.
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

/// One fault: in the file whose path ends like this, replace this by that; then this is reported.
/// The list of functions counts as a file.
struct Planted {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    report: &'static str,
}

const PLANTED: [Planted; 12] = [
    Planted {
        file: "src/lib.rs",
        from: "pub fn mi_calloc(count: usize, size: usize)",
        to: "pub fn mi_calloc(count: u32, size: usize)",
        report: "function mi_calloc:",
    },
    Planted {
        file: "src/lib.rs",
        from: "pub fn mi_version() -> c_int;",
        to: "pub fn mi_version() -> i64;",
        report: "function mi_version:",
    },
    Planted {
        file: "src/lib.rs",
        from: "pub fn mi_usable_size(p: *const c_void)",
        to: "pub fn mi_usable_size(p: *mut c_void)",
        report: "function mi_usable_size:",
    },
    Planted {
        file: "extended/arena.rs",
        from: "        exclusive: bool,\n        arena_id: *mut mi_arena_id_t,\n    ) -> bool;",
        to: "        arena_id: *mut mi_arena_id_t,\n    ) -> bool;",
        report: "function mi_manage_os_memory_ex:",
    },
    Planted {
        file: "extended/process.rs",
        from: "pub fn mi_stats_reset();",
        to: "",
        report: "function mi_stats_reset: in headers, not in bindings",
    },
    Planted {
        file: "extended/process.rs",
        from: "pub fn mi_stats_reset();",
        to: "pub fn mi_stats_reset(); pub fn mi_stats_forget();",
        report: "function mi_stats_forget: in bindings, not in headers",
    },
    Planted {
        file: "extended/process.rs",
        from: "heartbeat: c_ulonglong",
        to: "heartbeat: c_ulong",
        report: "type mi_deferred_free_fun:",
    },
    Planted {
        file: "extended/options.rs",
        from: "mi_option_purge_delay: mi_option_t = 15;",
        to: "mi_option_purge_delay: mi_option_t = 16;",
        report: "constant mi_option_purge_delay:",
    },
    Planted {
        file: "extended/alloc.rs",
        from: "MI_SMALL_WSIZE_MAX * size_of",
        to: "MI_SMALL_WSIZE_MAX * 2 * size_of",
        report: "constant MI_SMALL_SIZE_MAX:",
    },
    Planted {
        file: "extended/heap.rs",
        from: "pub full_block_size: usize",
        to: "pub full_block_size: u32",
        report: "type mi_heap_area_t:",
    },
    Planted {
        file: "extended/heap.rs",
        from: "#[repr(C)]\n#[derive(Debug, Clone, Copy)]",
        to: "",
        report: "type mi_heap_area_t:",
    },
    Planted {
        file: "functions-2.1.7.txt",
        from: "mi_reallocf\tvoid* (void* p, size_t newsize)",
        to: "mi_reallocf\tvoid* (void* p, int newsize)\nmi_forgotten\tvoid (void)",
        report: "function mi_forgotten: in 2.1.7, not in headers",
    },
];

fn self_test(inputs: &Inputs) {
    let before = compare(inputs).faults.len();
    let mut missed = 0;
    for planted in &PLANTED {
        let mut changed = inputs.clone();
        let text = match changed.bindings.iter_mut().find(|(path, _)| path.ends_with(planted.file))
        {
            Some((_, text)) => text,
            None => &mut changed.required,
        };
        if !text.contains(planted.from) {
            println!("cannot plant in {}: {}", planted.file, planted.from);
            missed += 1;
            continue;
        }
        *text = text.replacen(planted.from, planted.to, 1);
        let faults = compare(&changed).faults;
        let found = faults.iter().any(|fault| fault.starts_with(planted.report));
        println!("{}: {}", if found { "found " } else { "MISSED" }, planted.report);
        // One that is there without the planting proves nothing.
        if !found || faults.len() <= before {
            missed += 1;
        }
    }
    if missed > 0 {
        exit(1);
    }
}
