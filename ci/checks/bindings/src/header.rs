//! The declarations of the headers, through bindgen.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::api::Api;

/// Constants of a probe have this before the name of the macro that they stand for.
const PROBE: &str = "MI_PROBE_";

pub fn read(headers: &[PathBuf], include_dir: &Path) -> Api {
    let mut text = include_all(headers);
    let names: Vec<String> = headers.iter().flat_map(|path| macro_names(path)).collect();
    text.push_str(&probes(&names));
    let mut api = parse(&text, include_dir);
    // The macros themselves: bindgen gives those that are literals, the probes have them all.
    for name in &names {
        api.constants.remove(name);
    }
    api.constants = api
        .constants
        .into_iter()
        .map(|(name, value)| match name.strip_prefix(PROBE) {
            Some(name) => (name.to_owned(), value),
            None => (name, value),
        })
        .collect();
    check_count(&api, headers);
    api
}

/// The functions of the list, understood with the types of the headers.
pub fn read_list(list: &str, headers: &[PathBuf], include_dir: &Path) -> Api {
    // The list's own declarations under names of their own, or they would clash with the header's.
    const LISTED: &str = "mi_listed_";
    let mut text = include_all(headers);
    for line in list.lines() {
        let (name, signature) = line.split_once('\t').expect("name, tab, signature");
        let (result, parameters) = signature.split_once(" (").expect("result and parameters");
        let name = name.strip_prefix("mi_").expect("the prefix of the interface");
        writeln!(text, "{result} {LISTED}{name}({parameters};").expect("room");
    }
    let mut api = parse(&text, include_dir);
    api.functions = api
        .functions
        .into_iter()
        .filter_map(|(name, value)| Some((format!("mi_{}", name.strip_prefix(LISTED)?), value)))
        .collect();
    api
}

fn include_all(headers: &[PathBuf]) -> String {
    headers
        .iter()
        .fold(String::new(), |text, path| text + &format!("#include \"{}\"\n", path.display()))
}

fn parse(text: &str, include_dir: &Path) -> Api {
    let bindings = bindgen::builder()
        .header_contents("interface.h", text)
        .clang_arg(format!("-I{}", include_dir.display()))
        .clang_arg("-std=c11")
        .use_core()
        .layout_tests(false)
        .generate_comments(false)
        .prepend_enum_name(false)
        .allowlist_item("(_?mi|MI)_.*")
        .formatter(bindgen::Formatter::None)
        .generate()
        .expect("headers that compile");
    let mut api = Api::default();
    api.add_source(&bindings.to_string());
    api.finish();
    api
}

/// The macros `MI_...` that are values: not those with parameters, and not empty ones.
fn macro_names(header: &Path) -> Vec<String> {
    let text = fs::read_to_string(header).expect("a header");
    let names = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("#define ")?.split_whitespace();
        let name = words.next()?;
        let is_value = name.starts_with("MI_") && !name.contains('(') && words.next().is_some();
        is_value.then(|| name.to_owned())
    });
    names.collect()
}

/// One enumeration constant per macro, so that the compiler computes expressions like `sizeof`.
fn probes(names: &[String]) -> String {
    let mut text = String::new();
    for name in names {
        writeln!(text, "#ifdef {name}\nenum {{ {PROBE}{name} = (int)({name}) }};\n#endif")
            .expect("room");
    }
    text
}

/// bindgen silently leaves out what it cannot express. Each declaration of a function has one of
/// these words, and apart from the definitions of the words nothing else has them.
const DECLARES: [&str; 4] = ["mi_decl_export", "mi_decl_copy", "mi_decl_alloc", "mi_decl_realloc"];

fn check_count(api: &Api, headers: &[PathBuf]) {
    let declared: usize = headers
        .iter()
        .map(|path| fs::read_to_string(path).expect("a header"))
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !line.starts_with("#define"))
        .map(|line| DECLARES.iter().map(|word| line.matches(word).count()).sum::<usize>())
        .sum();
    assert_eq!(declared, api.functions.len(), "functions declared in the headers, and read");
}
