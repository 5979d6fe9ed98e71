//! `build`: makes each library of libraries.toml, one shared object each, and with each of them the
//! Rust workloads.

use crate::library::{self, Kind, Library};
use crate::options::Options;
use crate::probe::Prober;
use crate::tools::{self, make_dir, output, shown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds what can be built; what cannot is reported and does not stop the rest.
pub fn run(options: &Options) -> Result<(), String> {
    let prober = Prober::new()?;
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for library in library::chosen(options)? {
        eprintln!("building {} ({})", library.name, library.label);
        let done = build(&library).and_then(|()| prober.probe(&library));
        let rust = rust_programs(&library);
        match done {
            Ok(proof) => rows.push((library.name.clone(), proof.version, proof.path)),
            Err(why) => failures.push((library.name.clone(), why)),
        }
        if let Err(why) = rust {
            failures.push((format!("{}, the Rust workloads", library.name), why));
        }
    }
    println!("{:<10} {:<44} path", "name", "version");
    for (name, version, path) in rows {
        println!("{name:<10} {version:<44} {}", shown(&path));
    }
    for (name, why) in failures {
        println!(
            "\n{name}: NOT AVAILABLE, the race goes on without it\n  {}",
            why.replace('\n', "\n  ")
        );
    }
    Ok(())
}

pub fn build(library: &Library) -> Result<(), String> {
    make_dir(&tools::out().join("lib"))?;
    // Removes the result of an earlier build, so that it is not taken for that of a failed one.
    for stale in [library.built_file(), library.origin_file()] {
        let _ = std::fs::remove_file(stale);
    }
    let (file, origin) = match &library.kind {
        Kind::Libc | Kind::Given(_) => return Ok(()),
        Kind::Cmake { source, file } => (by_cmake(library, source, file)?, our_commit()),
        Kind::Debian { package, file } => (by_debian(package, file)?, package_version(package)),
        Kind::Package { package, archive, cflags, link, alias } => {
            let (archive, origin) = by_cargo(library, package, archive, cflags)?;
            link_shared(&archive, link, alias, &library.built_file())?;
            (library.built_file(), origin)
        }
    };
    if file != library.built_file() {
        std::fs::copy(&file, library.built_file()).map_err(|e| format!("{}: {e}", shown(&file)))?;
    }
    tools::write(&library.origin_file(), &origin)
}

fn by_cmake(library: &Library, source: &str, file: &str) -> Result<PathBuf, String> {
    let build = tools::out().join(&library.name);
    output(
        Command::new("cmake")
            .arg("-S")
            .arg(tools::root().join(source))
            .arg("-B")
            .arg(&build)
            .arg("-DCMAKE_BUILD_TYPE=Release"),
    )?;
    output(Command::new("cmake").arg("--build").arg(&build).args(["--target", "mimalloc"]))?;
    let made = build.join(file);
    if made.exists() {
        Ok(made)
    } else {
        Err(format!("CMake built no {}", shown(&made)))
    }
}

/// Makes out/rust/NAME/rust-programs: of the package rust/NAME, whose allocator is linked in, or,
/// where there is none, a copy of glibc's, which is to be run under the preload.
fn rust_programs(library: &Library) -> Result<(), String> {
    let packages = tools::root().join("rust");
    let own = packages.join(&library.name).exists();
    let package = packages.join(if own { library.name.as_str() } else { "glibc" });
    let dir = tools::out().join("rust").join(&library.name);
    let program = dir.join("rust-programs");
    let _ = std::fs::remove_file(&program);
    make_dir(&dir)?;
    // One folder for all: what they share is compiled once. Only the last step differs.
    let target = tools::out().join("rust").join("target");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    output(
        Command::new(cargo)
            .args(["build", "--release", "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    let made = target.join("release").join("rust-programs");
    std::fs::copy(&made, &program).map_err(|e| format!("{}: {e}", shown(&made)))?;
    let mut check = Command::new(&program);
    check.arg("check").env_remove("LD_PRELOAD").env_remove("BENCH_LIBRARY");
    if let (false, Some(file)) = (own, library.file()) {
        check.env("LD_PRELOAD", &file).env("BENCH_LIBRARY", &file);
    }
    output(&mut check).map(|_| ())
}

/// Returns the archive and the name and version of the crate that made it.
fn by_cargo(
    library: &Library,
    package: &str,
    archive: &str,
    cflags: &str,
) -> Result<(PathBuf, String), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let messages = output(
        Command::new(cargo)
            .args(["build", "--release", "--message-format=json"])
            .arg("--manifest-path")
            .arg(tools::root().join(package).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(tools::out().join("peers").join(&library.name))
            .env("CFLAGS", cflags)
            .env("CXXFLAGS", cflags)
            // The cargo that runs this program sets them; they would tell the other cargo about
            // this package.
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if message["reason"] != "build-script-executed" {
            continue;
        }
        for path in message["linked_paths"].as_array().into_iter().flatten() {
            let path = path.as_str().unwrap_or_default();
            let dir = path.split_once('=').map_or(path, |(_, dir)| dir);
            let found = Path::new(dir).join(archive);
            if found.exists() {
                let id = message["package_id"].as_str().unwrap_or_default();
                let origin = id.rsplit('#').next().unwrap_or_default();
                return Ok((found, origin.replacen('@', " ", 1)));
            }
        }
    }
    Err(format!("cargo built no {archive}"))
}

/// Links the whole archive, because nothing refers to its objects from outside.
fn link_shared(
    archive: &Path,
    link: &[String],
    alias: &[String],
    library: &Path,
) -> Result<(), String> {
    output(
        Command::new(tools::cc())
            .args(["-shared", "-Wl,-Bsymbolic-functions"])
            .arg("-o")
            .arg(library)
            .arg("-Wl,--whole-archive")
            .arg(archive)
            .arg("-Wl,--no-whole-archive")
            .args(alias.iter().map(|a| format!("-Wl,--defsym={a}")))
            .args(link.iter().map(|l| format!("-l{l}"))),
    )
    .map(|_| ())
}

fn by_debian(package: &str, file: &str) -> Result<PathBuf, String> {
    let missing = format!("{file} is not installed: apt-get install {package}");
    let known = output(Command::new("ldconfig").arg("-p"))
        .or_else(|_| output(Command::new("/sbin/ldconfig").arg("-p")))?;
    let linked = known
        .lines()
        .filter_map(|line| line.split_once(" => "))
        .find(|(name, _)| name.split_whitespace().next() == Some(file))
        .map(|(_, path)| PathBuf::from(path.trim()));
    // The dynamic linker does not look into the folder of a compiler's libraries.
    let installed = || {
        let list = output(Command::new("dpkg-query").args(["-L", package])).ok()?;
        let mut files = list.lines().map(PathBuf::from);
        files.find(|path| path.file_name().is_some_and(|name| name == file))
    };
    linked.or_else(installed).ok_or(missing)
}

fn package_version(package: &str) -> String {
    let version = tools::first_line("dpkg-query", &["-W", "-f", "${Version}", package]);
    format!("Debian {package} {version}")
}

/// The state of our sources; read now, because the tree may change before the race.
fn our_commit() -> String {
    let root = tools::root();
    let git = |args: &[&str]| {
        output(Command::new("git").arg("-C").arg(&root).args(args)).map(|s| s.trim().to_owned())
    };
    match git(&["rev-parse", "--short", "HEAD"]) {
        Err(_) => "this tree, no commit".to_owned(),
        Ok(commit) => match git(&["status", "--porcelain", "--", "../c_src"]) {
            Ok(changes) if changes.is_empty() => format!("commit {commit}"),
            _ => format!("commit {commit} and changes"),
        },
    }
}
