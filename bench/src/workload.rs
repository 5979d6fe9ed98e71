//! What is raced, as workloads.toml names it.

use crate::figures::Group;
use crate::launch::Job;
use crate::library::Library;
use crate::options::Options;
use crate::tools;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// A C program of ours, which checks by itself which allocator serves it.
    Own,
    /// A program of the system: the dynamic linker is asked which library served it.
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
        // An allocator with a package of its own is linked in. Others are preloaded under the
        // program without one.
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

/// workloads.toml.
#[derive(Deserialize)]
struct Workloads {
    workload: Vec<Entry>,
}

/// A workload as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    about: String,
    group: Option<Group>,
    #[serde(default = "one")]
    weight: f64,
    /// One of these three says what is run.
    source: Option<String>,
    program: Option<String>,
    rust: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    quick: Option<Vec<String>>,
    input: Option<String>,
    #[serde(default)]
    env: Vec<String>,
    threads_arg: Option<usize>,
}

fn one() -> f64 {
    1.0
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
fn program(entry: &Entry) -> Result<(PathBuf, Kind), String> {
    if let Some(source) = &entry.source {
        return Ok((compiled(source)?, Kind::Own));
    }
    if let Some(bin) = &entry.rust {
        return if in_some_folder(bin) {
            Ok((PathBuf::from(bin), Kind::Rust))
        } else {
            Err(format!("{bin} is not built for any library: run `build`"))
        };
    }
    let name = entry.program.as_ref().ok_or("none of 'source', 'program', 'rust'")?;
    let path = tools::find_binary(name).ok_or(format!("{name} is not installed"))?;
    Ok((path, Kind::Foreign))
}

fn in_some_folder(bin: &str) -> bool {
    let Ok(folders) = std::fs::read_dir(rust_dir()) else { return false };
    folders.flatten().any(|folder| folder.path().join(bin).exists())
}

fn workload(entry: Entry, quick: bool) -> Result<Workload, String> {
    let (program, kind) = program(&entry)?;
    let args = entry.quick.filter(|_| quick).unwrap_or(entry.args);
    let input = entry.input.map_or(String::new(), |i| dir().join(i).display().to_string());
    let full = args.iter().map(|arg| arg.replace("{input}", &input)).collect();
    let env = entry.env.iter().filter_map(|e| e.split_once('='));
    let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Ok(Workload {
        name: entry.name,
        about: entry.about,
        group: entry.group.unwrap_or(match kind {
            Kind::Own => Group::Own,
            Kind::Foreign => Group::Real,
            Kind::Rust => Group::Rust,
        }),
        weight: entry.weight,
        kind,
        args,
        threads_arg: entry.threads_arg,
        job: Job { program, args: full, env },
    })
}

fn entries() -> Result<Vec<Entry>, String> {
    let text = tools::read(&tools::root().join("workloads.toml"))?;
    let all: Workloads = toml::from_str(&text).map_err(|e| format!("workloads.toml: {e}"))?;
    Ok(all.workload)
}

pub fn chosen(options: &Options) -> Result<Chosen, String> {
    let entries = entries()?;
    let is_known = |name: &String| entries.iter().any(|e| &e.name == name);
    if let Some(unknown) = options.only.iter().flatten().find(|name| !is_known(name)) {
        return Err(format!("there is no workload '{unknown}' in workloads.toml"));
    }
    let mut chosen = Chosen { ready: Vec::new(), missing: Vec::new() };
    for entry in entries {
        let name = entry.name.clone();
        if options.only.as_ref().is_some_and(|o| !o.contains(&name)) {
            continue;
        }
        match workload(entry, options.quick) {
            Ok(workload) => chosen.ready.push(workload),
            Err(why) => chosen.missing.push((name, why)),
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read() {
        let entries = entries().unwrap();
        assert!(entries.len() >= 70 && entries.iter().all(|e| e.weight == 1.0));
        assert!(entries.iter().any(|e| e.threads_arg == Some(0)));
        assert!(entries.iter().any(|e| e.group == Some(Group::Real)));
    }
}
