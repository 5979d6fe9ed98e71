//! Proves that a preloaded library is the one that serves malloc.

use crate::library::{Kind, Library};
use crate::tools::{self, output, shown};
use std::path::PathBuf;
use std::process::Command;

pub struct Prober {
    program: PathBuf,
}

/// The result of the probe under one preload.
pub struct Proof {
    pub version: String,
    /// The file that malloc comes from.
    pub path: PathBuf,
}

impl Prober {
    pub fn new() -> Result<Prober, String> {
        let source = tools::root().join("helpers/probe.c");
        let program = tools::compile(&source, &["-fno-builtin", "-ldl"])?;
        Ok(Prober { program })
    }

    /// Refuses a library that is missing, that does not serve every function of the family, or
    /// whose version is not that of libraries.toml.
    pub fn probe(&self, library: &Library) -> Result<Proof, String> {
        let mut command = Command::new(&self.program);
        let file = library.file();
        match &file {
            Some(file) if !file.exists() => {
                return Err(format!("{} is not built: run `build`", shown(file)));
            }
            Some(file) => command.env("LD_PRELOAD", file),
            None => command.env_remove("LD_PRELOAD"),
        };
        let said = output(&mut command)?;
        let mut malloc = PathBuf::new();
        let mut version = None;
        for line in said.lines() {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            match words[..] {
                ["symbol", name, path] => {
                    if let Some(file) = &file {
                        if file.as_os_str() != path {
                            return Err(format!("`{name}` is served by {path}, not by it"));
                        }
                    }
                    if name == "malloc" {
                        malloc = PathBuf::from(path);
                    }
                }
                ["version", ..] => version = Some(line["version ".len()..].to_owned()),
                _ => return Err(format!("the probe said '{line}'")),
            }
        }
        if let Some(wanted) = &library.version {
            if version.as_ref() != Some(wanted) {
                let is = version.unwrap_or("nothing".to_owned());
                return Err(format!("it says '{is}' where '{wanted}' was expected"));
            }
        }
        let version = match &library.kind {
            // Ours answers 217 like the library whose interface it has.
            Kind::Cmake { .. } => library.origin().unwrap_or_default(),
            _ => match (version, library.origin()) {
                (Some(version), Some(origin)) => {
                    format!("{} ({})", without_commit(&version), without_commit(&origin))
                }
                (Some(one), None) | (None, Some(one)) => without_commit(&one).to_owned(),
                (None, None) => "version unknown".to_owned(),
            },
        };
        Ok(Proof { version, path: malloc })
    }
}

/// jemalloc's "5.3.1-0-g" and 40 digits more: the release says enough.
fn without_commit(version: &str) -> &str {
    version.split("-0-g").next().unwrap_or(version)
}
