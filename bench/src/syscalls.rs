//! System calls of a program, counted by strace in a run of their own that is not timed.

use crate::figures::Calls;
use crate::launch::{Job, Launcher};
use crate::tools;
use crate::workload::Start;
use std::path::{Path, PathBuf};

/// The calls that get and return memory.
const MEMORY: [&str; 6] = ["mmap", "munmap", "mremap", "madvise", "mprotect", "brk"];

pub struct Tracer {
    program: PathBuf,
}

impl Tracer {
    pub fn new() -> Result<Tracer, String> {
        let program = tools::find_binary("strace").ok_or("strace is not installed")?;
        Ok(Tracer { program })
    }

    /// All calls of the program and of what it starts, but for sched_yield and futex: how often
    /// threads wait for each other depends on the scheduler, by a factor of four.
    pub fn count(
        &self,
        launcher: &Launcher,
        start: &Start,
        env: &[(&str, &str)],
    ) -> Result<Calls, String> {
        let flags = ["-c", "--seccomp-bpf", "-e", "trace=!sched_yield,futex"];
        sum(&self.trace(launcher, start, &flags, env)?)
    }

    /// Whether the program asks for huge pages, by madvise.
    pub fn advises_huge(&self, launcher: &Launcher, start: &Start) -> Result<bool, String> {
        let said = self.trace(launcher, start, &["--seccomp-bpf", "-e", "trace=madvise"], &[])?;
        Ok(said.contains("MADV_HUGEPAGE"))
    }

    /// Returns what strace wrote. The preload is for the program, not for strace.
    fn trace(
        &self,
        launcher: &Launcher,
        start: &Start,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Result<String, String> {
        let file = launcher.scratch().join("strace");
        let mut args: Vec<String> = ["-f", "-qq", "-o"].map(str::to_owned).to_vec();
        args.push(file.display().to_string());
        args.extend(flags.iter().map(|f| (*f).to_owned()));
        let library = start.preload.as_deref().map_or(String::new(), shown);
        if start.preload.is_some() {
            args.extend(["-E".to_owned(), format!("LD_PRELOAD={library}")]);
            args.extend(["-E".to_owned(), format!("BENCH_LIBRARY={library}")]);
        }
        args.push(start.job.program.display().to_string());
        args.extend(start.job.args.iter().cloned());
        let job = Job { program: self.program.clone(), args, env: start.job.env.clone() };
        launcher.run_with(&job, None, env)?;
        tools::read(&file)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The table of `strace -c`: share, seconds, microseconds per call, calls, errors if any, name.
fn sum(table: &str) -> Result<Calls, String> {
    let mut calls = Calls { total: 0, memory: 0 };
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(Ok(count)), Some(name)) = (words.get(3).map(|n| n.parse::<u64>()), words.last())
        else {
            continue;
        };
        if *name == "total" {
            continue;
        }
        calls.total += count;
        if MEMORY.contains(name) {
            calls.memory += count;
        }
    }
    if calls.total == 0 {
        return Err("strace counted no call".to_owned());
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_without_the_line_of_the_total() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000030          10         3         1 access\n \
            40.00    0.000020           4         5           mmap\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000050           6         8         1 total\n";
        let calls = sum(table).unwrap();
        assert_eq!((calls.total, calls.memory), (8, 5));
    }
}
