//! What the command line says.

use clap::{Args, Parser, Subcommand};

/// Races allocators over the same programs.
#[derive(Parser)]
#[command(name = "allocator-race")]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Clone, Copy, Subcommand)]
pub enum Command {
    /// Make ours and the peers as shared libraries in out/lib
    Build,
    /// Run all workloads under all allocators, interleaved, and write report/race.*
    Race,
    /// Instructions per pair of malloc and free, counted by callgrind
    Count,
    /// The workload vector against touching a fresh mapping of its size
    Touch,
    /// Percentiles of single calls
    Latency,
    /// The own workloads under each mode of transparent huge pages (as root)
    Hugepages,
    /// Workloads with threads, by number of threads
    Scaling,
    /// What stays resident after patterns of freeing, and over time
    Memory,
    /// count, touch, latency, hugepages, scaling, memory and race, one text of all
    Report,
    /// Ours alone against the counts of bounds.toml
    Guard,
}

/// An option that a command has no use for is ignored by it.
#[derive(Args, Clone, Default)]
pub struct Options {
    /// Only these (names of libraries.toml); mi217 always takes part as the base
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',')]
    pub allocators: Option<Vec<String>>,
    /// One more library of your own; may be repeated
    #[arg(long = "library", global = true, value_name = "NAME=SO", value_parser = named_file)]
    pub extra: Vec<(String, String)>,
    /// Only these workloads (names of workloads.toml)
    #[arg(long, global = true, value_name = "W,V", value_delimiter = ',')]
    pub only: Option<Vec<String>>,
    /// Rounds; 5 unless given, 9 of latency, 3 of hugepages and memory
    #[arg(long, global = true, value_name = "N", value_parser = positive)]
    pub rounds: Option<usize>,
    /// Fewer rounds of smaller runs, written to report/quick* (with --only or --allocators it is
    /// report/partial*)
    #[arg(long, global = true)]
    pub quick: bool,
    /// race, scaling, memory: no runs, charts and text again from the JSON that is there
    #[arg(long, global = true)]
    pub rerender: bool,
    /// guard: write the bounds
    #[arg(long, global = true)]
    pub record: bool,
    /// count: live blocks, 64,4096 unless given
    #[arg(long, global = true, value_name = "N,M", value_delimiter = ',', value_parser = positive)]
    pub live: Option<Vec<usize>>,
    /// count: pairs in the shorter run, 1000000 unless given
    #[arg(long, global = true, value_name = "N", value_parser = positive)]
    pub pairs: Option<usize>,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("'{text}' is not a positive number")),
    }
}

fn named_file(text: &str) -> Result<(String, String), String> {
    let (name, path) = text.split_once('=').ok_or("it takes NAME=SO")?;
    Ok((name.to_owned(), path.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_stand_after_the_command() {
        let words = "allocator-race race --quick --only tree,words --library a=b.so --library c=d";
        let line = CommandLine::try_parse_from(words.split(' ')).unwrap();
        assert!(line.options.quick && line.options.stem("scaling") == "quick-scaling");
        assert_eq!(line.options.only.unwrap(), ["tree", "words"]);
        assert_eq!(line.options.extra[1], ("c".to_owned(), "d".to_owned()));
    }

    #[test]
    fn numbers_are_positive() {
        let parse = |value: &str| {
            CommandLine::try_parse_from(["allocator-race", "count", "--live", value]).is_ok()
        };
        assert!(parse("64,4096") && !parse("0") && !parse("64,") && !parse("x"));
    }
}
