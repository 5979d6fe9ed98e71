//! What is raced, as workloads.toml names it.

use crate::launch::Job;
use crate::tools;
use crate::Options;
use std::path::PathBuf;

pub struct Workload {
    pub name: String,
    pub about: String,
    pub weight: f64,
    /// A program of the system: the dynamic linker must be asked who served it.
    pub foreign: bool,
    /// The arguments as the file has them.
    pub args: Vec<String>,
    pub job: Job,
}

/// The workloads, and the names of those whose program this machine does not have.
pub struct Chosen {
    pub ready: Vec<Workload>,
    pub missing: Vec<(String, String)>,
}

fn text(entry: &toml::Table, key: &str) -> Option<String> {
    entry.get(key).and_then(toml::Value::as_str).map(str::to_owned)
}

fn texts(entry: &toml::Table, key: &str) -> Option<Vec<String>> {
    let values = entry.get(key)?.as_array()?;
    Some(values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
}

fn dir() -> PathBuf {
    tools::root().join("workloads")
}

fn sources() -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir()).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|e| e == "c") {
            all.push(path.display().to_string());
        }
    }
    all.sort();
    Ok(all)
}

/// Compiles or finds the program. The builtins are off so that the compiler keeps every pair of
/// malloc and free.
fn program(entry: &toml::Table) -> Result<PathBuf, String> {
    if let Some(source) = text(entry, "source") {
        return tools::compile(&dir().join(source), &["-fno-builtin", "-pthread"]);
    }
    let name = text(entry, "program").ok_or("neither 'source' nor 'program'")?;
    tools::find_binary(&name).ok_or(format!("{name} is not installed"))
}

fn workload(entry: &toml::Table, name: &str, quick: bool) -> Result<Workload, String> {
    let program = program(entry)?;
    let normal = texts(entry, "args").unwrap_or_default();
    let args = match texts(entry, "quick") {
        Some(args) if quick => args,
        _ => normal,
    };
    let input = text(entry, "input").map_or(String::new(), |i| dir().join(i).display().to_string());
    let mut full = Vec::new();
    for arg in &args {
        if arg == "{sources}" {
            full.extend(sources()?);
        } else {
            full.push(arg.replace("{input}", &input));
        }
    }
    let env = texts(entry, "env").unwrap_or_default();
    let env = env
        .iter()
        .filter_map(|e| e.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    Ok(Workload {
        name: name.to_owned(),
        about: text(entry, "about").unwrap_or_default(),
        weight: match entry.get("weight") {
            Some(toml::Value::Integer(weight)) => *weight as f64,
            Some(toml::Value::Float(weight)) => *weight,
            _ => 1.0,
        },
        foreign: text(entry, "program").is_some(),
        args,
        job: Job { program, args: full, env },
    })
}

pub fn chosen(options: &Options) -> Result<Chosen, String> {
    let table: toml::Table = tools::read(&tools::root().join("workloads.toml"))?
        .parse()
        .map_err(|e| format!("workloads.toml: {e}"))?;
    let entries = table
        .get("workload")
        .and_then(toml::Value::as_array)
        .ok_or("workloads.toml: no [[workload]]")?;
    let entries: Vec<&toml::Table> = entries.iter().filter_map(toml::Value::as_table).collect();
    let names: Vec<String> = entries
        .iter()
        .map(|e| text(e, "name").ok_or("workloads.toml: a workload has no name".to_owned()))
        .collect::<Result<_, _>>()?;
    if let Some(unknown) = options.only.iter().flatten().find(|name| !names.contains(name)) {
        return Err(format!("there is no workload '{unknown}' in workloads.toml"));
    }
    let mut chosen = Chosen { ready: Vec::new(), missing: Vec::new() };
    for (entry, name) in entries.iter().zip(names) {
        if options.only.as_ref().is_some_and(|o| !o.contains(&name)) {
            continue;
        }
        match workload(entry, &name, options.quick) {
            Ok(workload) => chosen.ready.push(workload),
            Err(why) => chosen.missing.push((name, why)),
        }
    }
    Ok(chosen)
}
