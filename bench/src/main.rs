//! Races allocators over the same programs. See README.md for what is measured and how.
//!
//! Order of the modules, a module uses only those before it:
//!
//! - what takes part: `tools`, `library`, `probe`, `make`, `launch`, `figures`, `workload`, `machine`
//! - figures: `syscalls`, `bootstrap`, `record`, `calibration`, `targets`
//! - what people see: `markdown`, `sections`, `chart`, `scaling_chart`, `report`
//! - commands: `race`, `count`, `latency`, `hugepages`, `scaling`, `bounds`, `guard`

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
mod probe;
mod race;
mod record;
mod report;
mod scaling;
mod scaling_chart;
mod sections;
mod syscalls;
mod targets;
mod tools;
mod touch;
mod workload;

use std::process::ExitCode;

const USAGE: &str = "\
usage: allocator-race COMMAND [OPTIONS]

  build      make ours and the peers as shared libraries in out/lib
  race       run all workloads under all allocators, interleaved, and write report/race.*
  count      instructions per pair of malloc and free, counted by callgrind
  touch      the workload vector against touching a fresh mapping of its size
  latency    percentiles of single calls
  hugepages  the own workloads under each mode of transparent huge pages (as root)
  scaling    workloads with threads, by number of threads
  report     count, latency, hugepages, scaling and race, one text of all
  guard      ours alone against the counts of bounds.toml

  --allocators A,B   only these (names of libraries.toml); mi217 always takes part as the base
  --library NAME=SO  one more library of your own; may be repeated
  --only W,V         only these workloads (names of workloads.toml)
  --rounds N         rounds; 5 unless given, 9 of latency, 3 of hugepages
  --quick            fewer rounds of smaller runs, written to report/quick*
                     (with --only or --allocators it is report/partial*)
  --rerender         race, scaling: no runs, charts and text again from the JSON that is there
  --live N,M         count: live blocks, 64,4096 unless given
  --pairs N          count: pairs in the shorter run, 1000000 unless given
  --record           guard: write the bounds
  --self-test        guard: plant a fault for each gate, which must find it
";

/// What the command line says; a field that a command has no use for is ignored by it.
#[derive(Default)]
pub struct Options {
    pub allocators: Option<Vec<String>>,
    pub extra: Vec<(String, String)>,
    pub only: Option<Vec<String>>,
    pub rounds: Option<usize>,
    pub quick: bool,
    pub rerender: bool,
    pub record: bool,
    pub self_test: bool,
    pub live: Option<Vec<usize>>,
    pub pairs: Option<usize>,
}

impl Options {
    /// Only a whole run may replace the figures that are kept: the stem of a report's files.
    pub fn stem(&self, kind: &str) -> String {
        let part = match self {
            Options { quick: true, .. } => "quick",
            Options { only: None, allocators: None, .. } => return kind.to_owned(),
            _ => "partial",
        };
        if kind == "race" {
            part.to_owned()
        } else {
            format!("{part}-{kind}")
        }
    }

    pub fn rounds_or(&self, whole: usize, quick: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { quick } else { whole })
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("'{text}' is not a positive number")),
    }
}

fn options(args: &mut impl Iterator<Item = String>) -> Result<Options, String> {
    let mut o = Options::default();
    while let Some(name) = args.next() {
        let flag = match name.as_str() {
            "--quick" => Some(&mut o.quick),
            "--rerender" => Some(&mut o.rerender),
            "--record" => Some(&mut o.record),
            "--self-test" => Some(&mut o.self_test),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            continue;
        }
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--allocators" => o.allocators = Some(list(&value()?)),
            "--only" => o.only = Some(list(&value()?)),
            "--rounds" => o.rounds = Some(number(&value()?)?),
            "--pairs" => o.pairs = Some(number(&value()?)?),
            "--live" => {
                o.live = Some(list(&value()?).iter().map(|n| number(n)).collect::<Result<_, _>>()?)
            }
            "--library" => {
                let pair = value()?;
                let (name, path) = pair.split_once('=').ok_or("--library takes NAME=SO")?;
                o.extra.push((name.to_owned(), path.to_owned()));
            }
            _ => return Err(format!("unknown option {name}\n\n{USAGE}")),
        }
    }
    Ok(o)
}

fn run() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    if matches!(command.as_str(), "" | "help" | "-h" | "--help") {
        print!("{USAGE}");
        return Ok(());
    }
    let options = options(&mut args)?;
    match command.as_str() {
        "build" => make::run(&options),
        "race" => race::run(&options),
        "count" => count::run(&options),
        "touch" => touch::run(&options),
        "latency" => latency::run(&options),
        "hugepages" => hugepages::run(&options),
        "scaling" => scaling::run(&options),
        "guard" => guard::run(&options),
        "report" => everything(&options),
        _ => Err(format!("unknown command {command}\n\n{USAGE}")),
    }
}

/// All that a report has. The race comes last, because its text has the others' figures in it.
fn everything(options: &Options) -> Result<(), String> {
    if !options.rerender {
        count::run(options)?;
        touch::run(options)?;
        latency::run(options)?;
        hugepages::run(options)?;
        scaling::run(options)?;
    }
    race::run(options)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("allocator-race: {message}");
            ExitCode::FAILURE
        }
    }
}
