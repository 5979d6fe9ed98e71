//! The allocators that race, as libraries.toml and the command line name them.

use crate::options::Options;
use crate::tools;
use serde::Deserialize;
use std::path::PathBuf;

/// The base of every ratio.
pub const BASE: &str = "mi217";
/// This project.
pub const OURS: &str = "ours";

/// An archive is compiled as if any function might be replaced by another one at run time, which
/// keeps the compiler from inlining. With this, and with -Bsymbolic-functions when it is linked,
/// a peer is what its project ships as a shared library.
const CFLAGS: &str = "-fno-semantic-interposition";

fn cflags() -> String {
    CFLAGS.to_owned()
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// Ours, by CMake from `source`; `file` is what is built.
    Cmake { source: String, file: String },
    /// A static archive that a package below peers/ makes Cargo build.
    Package {
        package: String,
        archive: String,
        #[serde(default = "cflags")]
        cflags: String,
        #[serde(default)]
        link: Vec<String>,
        #[serde(default)]
        alias: Vec<String>,
    },
    /// A file of a Debian package.
    Debian {
        #[serde(rename = "debian")]
        package: String,
        file: String,
    },
    /// The C library of the system: no preload.
    Libc,
    /// Given on the command line.
    #[serde(skip)]
    Given(PathBuf),
}

#[derive(Deserialize)]
pub struct Library {
    pub name: String,
    pub label: String,
    #[serde(flatten)]
    pub kind: Kind,
    /// What the library must say of itself.
    pub version: Option<String>,
    /// Takes part only where the command line names it.
    #[serde(default)]
    pub by_name: bool,
}

/// libraries.toml.
#[derive(Deserialize)]
struct Libraries {
    library: Vec<Library>,
}

impl Library {
    /// The file that is preloaded, if it is there; None for the C library of the system.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Libc => None,
            Kind::Given(path) => Some(path.clone()),
            _ => Some(self.built_file()),
        }
    }

    pub fn built_file(&self) -> PathBuf {
        tools::out().join("lib").join(format!("{}.so", self.name))
    }

    /// What `build` made the library of, for libraries that cannot say their version.
    pub fn origin_file(&self) -> PathBuf {
        tools::out().join("lib").join(format!("{}.origin", self.name))
    }

    pub fn origin(&self) -> Option<String> {
        std::fs::read_to_string(self.origin_file()).ok().map(|s| s.trim().to_owned())
    }
}

fn all() -> Result<Vec<Library>, String> {
    let text = tools::read(&tools::root().join("libraries.toml"))?;
    let all: Libraries = toml::from_str(&text).map_err(|e| format!("libraries.toml: {e}"))?;
    Ok(all.library)
}

/// Without any peer.
pub fn ours() -> Result<Library, String> {
    let found = all()?.into_iter().find(|l| l.name == OURS);
    found.ok_or(format!("libraries.toml: '{OURS}' is missing"))
}

/// All libraries in the order of the file, those of the command line last, less those that the
/// command line leaves out. The base always stays: without it there is no ratio.
pub fn chosen(options: &Options) -> Result<Vec<Library>, String> {
    let mut all = all()?;
    if let Some(wanted) = &options.allocators {
        for name in wanted {
            if !all.iter().any(|l| &l.name == name) {
                return Err(format!("there is no allocator '{name}' in libraries.toml"));
            }
        }
        all.retain(|l| l.name == BASE || wanted.contains(&l.name));
    } else {
        all.retain(|l| !l.by_name);
    }
    for (name, path) in &options.extra {
        if all.iter().any(|l| &l.name == name) {
            return Err(format!("the name '{name}' is taken"));
        }
        let path = std::fs::canonicalize(path).map_err(|e| format!("{path}: {e}"))?;
        all.push(Library {
            name: name.clone(),
            label: name.clone(),
            kind: Kind::Given(path),
            version: None,
            by_name: false,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read() {
        let all = all().unwrap();
        let named = |name: &str| all.iter().find(|l| l.name == name).unwrap();
        assert!(matches!(named(OURS).kind, Kind::Cmake { .. }) && !named(OURS).by_name);
        assert!(matches!(named("glibc").kind, Kind::Libc));
        assert!(matches!(&named(BASE).kind, Kind::Package { archive, .. } if !archive.is_empty()));
    }
}
