//! Races allocators over the same programs. See README.md for what is measured and how.
//!
//! Order of the modules, a module uses only those before it (a test below reads this list):
//!
//! - what takes part: `tools`, `options`, `machine`, `library`, `probe`, `launch`, `make`
//! - figures: `figures`, `workload`, `syscalls`, `bootstrap`, `record`, `calibration`, `touch_ratio`, `targets`,
//!   `bounds`
//! - what measures: `race`, `count`, `touch`, `latency`, `hugepages`, `scaling`, `memory`, `guard`
//! - what people see: `markdown`, `sections`, `chart`, `overview`, `race_chart`, `scaling_chart`,
//!   `memory_chart`, `report`

mod bootstrap;
mod bounds;
mod calibration;
mod chart;
mod count;
mod figures;
mod guard;
mod hugepages;
mod latency;
mod launch;
mod library;
mod machine;
mod make;
mod markdown;
mod memory;
mod memory_chart;
mod options;
mod overview;
mod probe;
mod race;
mod race_chart;
mod record;
mod report;
mod scaling;
mod scaling_chart;
mod sections;
mod syscalls;
mod targets;
mod tools;
mod touch;
mod touch_ratio;
mod workload;

use clap::Parser;
use options::{Command, CommandLine, Options};
use std::process::ExitCode;

fn run(command: Command, options: &Options) -> Result<(), String> {
    match command {
        Command::Build => make::run(options),
        Command::Race if options.rerender => report::race(options, report::read(options, "race")?),
        Command::Race => report::race(options, race::run(options)?),
        Command::Count => report::keep(options, "count", &count::run(options)?),
        Command::Touch => report::keep(options, "touch", &touch::run(options)?),
        Command::Latency => report::keep(options, "latency", &latency::run(options)?),
        Command::Hugepages => match hugepages::run(options)? {
            Some(report) => report::keep(options, "hugepages", &report),
            None => Ok(()),
        },
        Command::Scaling if options.rerender => {
            report::scaling(options, &report::read(options, "scaling")?)
        }
        Command::Scaling => match scaling::run(options)? {
            Some(report) => {
                tools::keep(&options.stem("scaling"), &report)?;
                report::scaling(options, &report)
            }
            None => Ok(()),
        },
        Command::Memory if options.rerender => {
            report::memory(options, &report::read(options, "memory")?)
        }
        Command::Memory => {
            let report = memory::run(options)?;
            tools::keep(&options.stem("memory"), &report)?;
            report::memory(options, &report)
        }
        Command::Guard => guard::run(options),
        Command::Report => everything(options),
    }
}

/// All that a report has. The race comes last, because its text has the others' figures in it.
fn everything(options: &Options) -> Result<(), String> {
    if !options.rerender {
        for command in [Command::Count, Command::Touch, Command::Latency, Command::Hugepages] {
            run(command, options)?;
        }
    }
    run(Command::Scaling, options)?;
    run(Command::Memory, options)?;
    run(Command::Race, options)
}

fn main() -> ExitCode {
    let CommandLine { command, options } = CommandLine::parse();
    match run(command, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("allocator-race: {message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The modules in the order of the list above.
    fn order() -> Vec<String> {
        let text = include_str!("main.rs");
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        head.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn modules_use_only_those_before_them() {
        let order = order();
        let mut files = 0;
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if name == "main" {
                continue;
            }
            let at = order.iter().position(|n| *n == name);
            let at = at.unwrap_or_else(|| panic!("{name} is not in the list"));
            let text = std::fs::read_to_string(&path).unwrap();
            for used in &order[at + 1..] {
                for form in [format!("crate::{used}::"), format!("crate::{used};")] {
                    assert!(!text.contains(&form), "{name} uses {used}, which comes after it");
                }
            }
            // The grouped form: use crate::{a, b};
            for group in text.split("use crate::{").skip(1) {
                let group = group.split('}').next().unwrap();
                let words = group.split(|c: char| !c.is_alphanumeric() && c != '_');
                for used in words.filter(|w| !w.is_empty()) {
                    let there = order.iter().position(|n| n == used);
                    assert!(there.is_none_or(|there| there < at), "{name} uses {used}");
                }
            }
            files += 1;
        }
        assert_eq!(files, order.len());
    }
}
