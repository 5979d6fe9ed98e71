//! The allocators that race, as libraries.toml and the command line name them.

use crate::tools;
use crate::Options;
use std::path::PathBuf;

/// The base of every ratio.
pub const BASE: &str = "mi217";
/// This project.
pub const OURS: &str = "ours";

/// An archive is compiled as if any function might be replaced by another one at run time, which
/// keeps the compiler from inlining. With this, and with -Bsymbolic-functions when it is linked,
/// a peer is what its project ships as a shared library.
const CFLAGS: &str = "-fno-semantic-interposition";

pub enum Kind {
    /// Ours, by CMake from `source`; `file` is what is built.
    Cmake { source: String, file: String },
    /// A static archive that a package below peers/ makes Cargo build.
    Package {
        package: String,
        archive: String,
        cflags: String,
        link: Vec<String>,
        alias: Vec<String>,
    },
    /// A file of a Debian package.
    Debian { package: String, file: String },
    /// The C library of the system: no preload.
    Libc,
    /// Given on the command line.
    Given(PathBuf),
}

pub struct Library {
    pub name: String,
    pub label: String,
    pub kind: Kind,
    /// What the library must say of itself.
    pub version: Option<String>,
    /// Takes part only where the command line names it.
    pub by_name: bool,
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

fn text(entry: &toml::Table, key: &str) -> Result<String, String> {
    entry
        .get(key)
        .and_then(toml::Value::as_str)
        .map(str::to_owned)
        .ok_or(format!("libraries.toml: '{key}' is missing"))
}

fn texts(entry: &toml::Table, key: &str) -> Vec<String> {
    let Some(values) = entry.get(key).and_then(toml::Value::as_array) else {
        return Vec::new();
    };
    values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn library(entry: &toml::Table) -> Result<Library, String> {
    let kind = match text(entry, "kind")?.as_str() {
        "cmake" => Kind::Cmake { source: text(entry, "source")?, file: text(entry, "file")? },
        "package" => Kind::Package {
            package: text(entry, "package")?,
            archive: text(entry, "archive")?,
            cflags: text(entry, "cflags").unwrap_or(CFLAGS.to_owned()),
            link: texts(entry, "link"),
            alias: texts(entry, "alias"),
        },
        "debian" => Kind::Debian { package: text(entry, "debian")?, file: text(entry, "file")? },
        "libc" => Kind::Libc,
        other => return Err(format!("libraries.toml: unknown kind '{other}'")),
    };
    Ok(Library {
        name: text(entry, "name")?,
        label: text(entry, "label")?,
        kind,
        version: text(entry, "version").ok(),
        by_name: entry.get("by_name").and_then(toml::Value::as_bool).unwrap_or(false),
    })
}

fn all() -> Result<Vec<Library>, String> {
    let table: toml::Table = tools::read(&tools::root().join("libraries.toml"))?
        .parse()
        .map_err(|e| format!("libraries.toml: {e}"))?;
    let entries = table
        .get("library")
        .and_then(toml::Value::as_array)
        .ok_or("libraries.toml: no [[library]]")?;
    entries.iter().filter_map(toml::Value::as_table).map(library).collect()
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
