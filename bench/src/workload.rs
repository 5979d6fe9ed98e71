//! What is raced, as workloads.toml names it.

use crate::figures::Group;
use crate::launch::Job;
use crate::library::Library;
use crate::tools;
use crate::Options;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// A C program of ours, which itself looks who serves it.
    Own,
    /// A program of the system: the dynamic linker must be asked who served it.
    Foreign,
    /// A Rust program, which is linked with the allocator: one binary for each.
    Rust,
}

pub struct Workload {
    pub name: String,
    pub about: String,
    pub group: Group,
    pub weight: f64,
    pub kind: Kind,
    /// The arguments as the file has them.
    pub args: Vec<String>,
    /// Which of the arguments is the number of threads.
    pub threads_arg: Option<usize>,
    job: Job,
}

/// What is started for one allocator, and what is preloaded.
pub struct Start {
    pub job: Job,
    pub preload: Option<PathBuf>,
}

impl Workload {
    /// None: there is no such program for this library.
    pub fn start(&self, library: &Library) -> Option<Start> {
        if self.kind != Kind::Rust {
            return Some(Start { job: self.job.clone(), preload: library.file() });
        }
        // With a package of its own the allocator is linked in. Others serve the program that has
        // no allocator of its own, under the preload.
        let linked = tools::root().join("rust").join(&library.name).exists();
        let folder = if linked { library.name.as_str() } else { "glibc" };
        let program = rust_dir().join(folder).join(&self.job.program);
        let job = Job { program, ..self.job.clone() };
        let preload = if linked { None } else { library.file() };
        job.program.exists().then_some(Start { job, preload })
    }

    /// The same workload with another number of threads.
    pub fn with_threads(&self, threads: usize) -> Option<Workload> {
        let at = self.threads_arg?;
        let mut job = self.job.clone();
        let mut args = self.args.clone();
        *job.args.get_mut(at)? = threads.to_string();
        *args.get_mut(at)? = threads.to_string();
        Some(Workload { name: self.name.clone(), about: self.about.clone(), args, job, ..*self })
    }

    /// The program as a report names it.
    pub fn version(&self) -> String {
        let name =
            self.job.program.file_name().map_or(String::new(), |n| n.to_string_lossy().into());
        match self.kind {
            Kind::Own => format!("workloads/{name}.c"),
            Kind::Foreign => {
                tools::first_line(&self.job.program.display().to_string(), &["--version"])
            }
            Kind::Rust => format!("rust/{name}"),
        }
    }
}

fn rust_dir() -> PathBuf {
    tools::out().join("rust")
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

/// A C program of ours. The builtins are off so that the compiler keeps every pair of malloc and
/// free.
pub fn compiled(source: &str) -> Result<PathBuf, String> {
    tools::compile(&dir().join(source), &["-fno-builtin", "-pthread"])
}

/// Compiles or finds the program; of a Rust program only the name, as each library has its own.
fn program(entry: &toml::Table) -> Result<(PathBuf, Kind), String> {
    if let Some(source) = text(entry, "source") {
        return Ok((compiled(&source)?, Kind::Own));
    }
    if let Some(bin) = text(entry, "rust") {
        return if in_some_folder(&bin) {
            Ok((PathBuf::from(bin), Kind::Rust))
        } else {
            Err(format!("{bin} is not built for any library: run `build`"))
        };
    }
    let name = text(entry, "program").ok_or("none of 'source', 'program', 'rust'")?;
    let path = tools::find_binary(&name).ok_or(format!("{name} is not installed"))?;
    Ok((path, Kind::Foreign))
}

fn in_some_folder(bin: &str) -> bool {
    let Ok(folders) = std::fs::read_dir(rust_dir()) else { return false };
    folders.flatten().any(|folder| folder.path().join(bin).exists())
}

fn group(entry: &toml::Table, kind: Kind) -> Result<Group, String> {
    match text(entry, "group") {
        Some(name) => Group::named(&name).ok_or(format!("there is no group '{name}'")),
        None => Ok(match kind {
            Kind::Own => Group::Own,
            Kind::Foreign => Group::Real,
            Kind::Rust => Group::Rust,
        }),
    }
}

fn workload(entry: &toml::Table, name: &str, quick: bool) -> Result<Workload, String> {
    let (program, kind) = program(entry)?;
    let normal = texts(entry, "args").unwrap_or_default();
    let args = match texts(entry, "quick") {
        Some(args) if quick => args,
        _ => normal,
    };
    let input = text(entry, "input").map_or(String::new(), |i| dir().join(i).display().to_string());
    let full = args.iter().map(|arg| arg.replace("{input}", &input)).collect();
    let env = texts(entry, "env").unwrap_or_default();
    let env = env
        .iter()
        .filter_map(|e| e.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let threads_arg = entry.get("threads_arg").and_then(toml::Value::as_integer);
    let threads_arg = threads_arg.and_then(|at| usize::try_from(at).ok());
    Ok(Workload {
        name: name.to_owned(),
        about: text(entry, "about").unwrap_or_default(),
        group: group(entry, kind)?,
        weight: match entry.get("weight") {
            Some(toml::Value::Integer(weight)) => *weight as f64,
            Some(toml::Value::Float(weight)) => *weight,
            _ => 1.0,
        },
        kind,
        args,
        threads_arg,
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
