//! Runs one program under one preload, through helpers/launch.c, and reads what it cost.

use crate::tools::{self, make_dir, read};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that takes longer has hung.
const LIMIT_SECONDS: &str = "180";

pub struct Launcher {
    program: PathBuf,
    scratch: PathBuf,
}

/// What is started.
#[derive(Clone)]
pub struct Job {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Run {
    pub wall_ns: u64,
    pub user_us: u64,
    pub sys_us: u64,
    pub peak_kib: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
}

impl Launcher {
    pub fn new() -> Result<Launcher, String> {
        let source = tools::root().join("helpers/launch.c");
        // Static, so that it is smaller than anything it starts; a system without a static C
        // library gets a floor of about 1 MiB more.
        let program =
            tools::compile(&source, &["-static"]).or_else(|_| tools::compile(&source, &[]))?;
        let scratch = tools::out().join("scratch");
        make_dir(&scratch)?;
        Ok(Launcher { program, scratch })
    }

    /// Returns the cost and what the program printed.
    pub fn run(&self, job: &Job, library: Option<&Path>) -> Result<(Run, String), String> {
        self.start(job, library, &[])
    }

    /// The same with additions to the environment.
    pub fn run_with(
        &self,
        job: &Job,
        library: Option<&Path>,
        env: &[(&str, &str)],
    ) -> Result<(Run, String), String> {
        self.start(job, library, env)
    }

    /// A file for results beside the output.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Runs the program once with the messages of the dynamic linker, and refuses it if any part of
    /// it got malloc from elsewhere. Our own programs check that in every run.
    pub fn verify(&self, job: &Job, library: Option<&Path>) -> Result<(), String> {
        let dir = self.scratch.join("bindings");
        let _ = std::fs::remove_dir_all(&dir);
        make_dir(&dir)?;
        let log = dir.join("log").display().to_string();
        self.start(job, library, &[("LD_DEBUG", "bindings"), ("LD_DEBUG_OUTPUT", &log)])?;
        let mut bound = 0;
        for entry in std::fs::read_dir(&dir).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            let bytes = std::fs::read(&path).map_err(|e| e.to_string())?;
            for line in String::from_utf8_lossy(&bytes).lines() {
                let Some(target) = malloc_target(line) else {
                    continue;
                };
                match library {
                    Some(library) if library.as_os_str() == target => {}
                    None if target.contains("libc.so") => {}
                    // The entry through which a program itself reaches malloc: a program that
                    // takes its address offers that entry to others, who then go through it.
                    _ if !target.contains(".so") => continue,
                    _ => return Err(format!("malloc was bound to {target}")),
                }
                bound += 1;
            }
        }
        if bound == 0 {
            return Err("it never got malloc through the dynamic linker".to_owned());
        }
        Ok(())
    }

    fn start(
        &self,
        job: &Job,
        library: Option<&Path>,
        env: &[(&str, &str)],
    ) -> Result<(Run, String), String> {
        let cost = self.scratch.join("cost");
        let said = self.scratch.join("output");
        let work = self.scratch.join("work");
        let _ = std::fs::remove_dir_all(&work);
        let _ = std::fs::remove_file(&cost);
        make_dir(&work)?;
        let mut command = Command::new(&self.program);
        command
            .arg(LIMIT_SECONDS)
            .arg(library.unwrap_or(Path::new("-")))
            .args([&cost, &said])
            .arg(&job.program)
            .args(&job.args)
            .current_dir(&work);
        // Every job gets the same environment, from cargo or from a shell: cargo sets a search path
        // that the dynamic linker tries for each library, and a shell may set allocator options.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LC_ALL", "C");
        if let Some(library) = library {
            command.env("BENCH_LIBRARY", library);
        }
        command.envs(job.env.iter().map(|(k, v)| (k, v))).envs(env.iter().copied());
        let complaint = tools::complaint(&mut command)?;
        let run = parse(&read(&cost)?).map_err(|why| match complaint.lines().last() {
            Some(line) => format!("{why}: {line}"),
            None => why,
        })?;
        let bytes = std::fs::read(&said).map_err(|e| e.to_string())?;
        Ok((run, String::from_utf8_lossy(&bytes).trim_end().to_owned()))
    }
}

/// "... binding file A [0] to B [0]: normal symbol `malloc' [VERSION]" -> B
fn malloc_target(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("normal symbol `")?;
    if !after.starts_with("malloc'") {
        return None;
    }
    let (_, target) = before.split_once("] to ")?;
    target.split(" [").next()
}

fn parse(line: &str) -> Result<Run, String> {
    let numbers: Vec<i64> = line
        .split_whitespace()
        .map(|w| w.parse().map_err(|_| format!("the launcher said '{line}'")))
        .collect::<Result<_, _>>()?;
    let [wall, user, sys, peak, minor, major, code, signal] = numbers[..] else {
        return Err(format!("the launcher said '{line}'"));
    };
    match (code, signal) {
        (0, 0) => Ok(Run {
            wall_ns: wall as u64,
            user_us: user as u64,
            sys_us: sys as u64,
            peak_kib: peak as u64,
            minor_faults: minor as u64,
            major_faults: major as u64,
        }),
        (_, 0) => Err(format!("exit code {code}")),
        _ => Err(format!("ended by signal {signal}")),
    }
}
