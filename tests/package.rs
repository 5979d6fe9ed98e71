//! What is in the package: every link in its documents leads somewhere, and nothing is there that
//! only the repository needs. And which version Cargo takes from a registry that also has the older
//! packages of this name.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use common::{describe, run, scratch, text};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The lines for a Cargo.toml.
const REQUIREMENT: &str =
    concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

/// The folder that the package of this crate unpacks to.
fn package() -> PathBuf {
    static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    folder.get_or_insert_with(pack).clone()
}

fn pack() -> PathBuf {
    let target = scratch().join("package");
    let _ = fs::remove_dir_all(&target);
    let mut pack = cargo(Path::new(env!("CARGO_MANIFEST_DIR")));
    pack.args(["package", "--offline", "--allow-dirty", "--no-verify", "--target-dir"]);
    run("cargo package", pack.arg(&target));
    let name = format!("mimalloc2-rust-sys-{VERSION}");
    let file = target.join("package").join(format!("{name}.crate"));
    run("tar", Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(&target));
    target.join(name)
}

/// All files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    fn add(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                add(root, &path, found);
            } else {
                let path = path.strip_prefix(root).expect("below");
                found.insert(path.to_str().expect("a name").to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    add(folder, folder, &mut found);
    found
}

fn documents(folder: &Path) -> Vec<(String, String)> {
    let names = files(folder).into_iter().filter(|name| name.ends_with(".md"));
    names
        .map(|name| (name.clone(), fs::read_to_string(folder.join(&name)).expect("text")))
        .collect()
}

#[test]
fn nothing_is_packed_that_only_the_repository_needs() {
    let files = files(&package());
    for file in ["README.md", "SECURITY.md", "LICENSE", "build/flags.rs", "c_src/src/all.c"] {
        assert!(files.contains(file), "{file} is missing");
    }
    for file in &files {
        for part in ["attacks", "docs/runs", "bench/", "ctest/", "fuzz/", "ci/", "tests/", ".json"]
        {
            let is_cargos = file == ".cargo_vcs_info.json";
            assert!(!file.contains(part) || is_cargos, "{file} is packed");
        }
    }
}

/// The text without what stands in code: blocks between fences, and spans between backquotes.
fn without_code(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            for (index, span) in line.split('`').enumerate() {
                prose += if index % 2 == 0 { span } else { "code" };
            }
            prose.push('\n');
        }
    }
    prose
}

/// Where the links and pictures of a document lead.
fn links(text: &str) -> Vec<String> {
    let text = without_code(text);
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named =
        text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|l| l.1);
    inline.chain(named).map(|link| link.trim().to_owned()).collect()
}

/// The names by which headings are linked, as the hosts of repositories make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let heading = line.trim_start_matches('#');
        if is_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    anchors
}

/// The links of these documents below `root` that lead nowhere.
fn dead_links(root: &Path, documents: &[(String, String)]) -> Vec<String> {
    let mut dead = Vec::new();
    for (name, text) in documents {
        let folder = root.join(name).parent().expect("a folder").to_owned();
        for link in links(text) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root.join(name) } else { folder.join(path) };
            let inside = target.canonicalize().map_or(false, |target| target.starts_with(root));
            let is_there = inside
                && (anchor.is_empty()
                    || fs::read_to_string(&target).map_or(false, |t| anchors(&t).contains(anchor)));
            if !is_there {
                dead.push(format!("{name}: {link}"));
            }
        }
    }
    dead
}

#[test]
fn every_link_in_the_package_leads_somewhere() {
    let root = package().canonicalize().expect("a folder");
    let mut dead = dead_links(&root, &documents(&root));
    // Cargo packs nothing of a folder that is a package of its own.
    dead.retain(|link| link != "README.md: bench/report/overview.svg");
    assert_eq!(dead, Vec::<String>::new());
}

/// Shows that the test above can fail.
#[test]
fn a_dead_link_is_noticed() {
    let root = scratch().join("links");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("docs")).expect("a folder");
    let root = root.canonicalize().expect("a folder");
    let text = "# One: two `three`\n[a](docs/b.md) [b](docs/b.md#part-1) [c](#one-two-three)\n\
                ![d](gone.svg) [e](docs/b.md#part-2) [f](#one) [g](../outside.md) `[h](code.md)`\n\
                ```\n[i](code.md)\n# Code\n```\n[j](#code) [k](https://docs.rs/)\n[l]: gone.md\n";
    fs::write(root.join("a.md"), text).expect("a file");
    fs::write(root.join("docs/b.md"), "## Part (1)\n[back](../a.md)\n").expect("a file");
    fs::write(root.parent().expect("a folder").join("outside.md"), "").expect("a file");
    let dead = ["gone.svg", "docs/b.md#part-2", "#one", "../outside.md", "#code", "gone.md"];
    assert_eq!(dead_links(&root, &documents(&root)), dead.map(|link| format!("a.md: {link}")));
}

/// The documents that are in git.
fn repository_documents(root: &Path) -> Vec<(String, String)> {
    let listed = run("git", Command::new("git").args(["ls-files", "*.md"]).current_dir(root));
    let read = |name: &str| (name.to_owned(), fs::read_to_string(root.join(name)).expect(name));
    text(&listed).lines().map(read).collect()
}

/// In the repository more files are there to lead to.
#[test]
fn every_link_in_the_repository_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("a folder");
    let documents = repository_documents(&root);
    assert!(documents.len() > 10, "{documents:?}");
    assert_eq!(dead_links(&root, &documents), Vec::<String>::new());
}

/// A word has a letter or a digit. What programs write does not count: reports, the table of errors.
#[test]
fn documents_written_by_hand_have_at_most_25_000_words() {
    let mut counts = Vec::new();
    for (name, text) in repository_documents(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        if name.contains("/report/") || name.contains("/results/") {
            continue;
        }
        let (before, rest) = text.split_once("<!-- errno table: begin").unwrap_or((&text, ""));
        let after = rest.split_once("errno table: end -->").map_or("", |parts| parts.1);
        let words = before.split_whitespace().chain(after.split_whitespace());
        counts.push((words.filter(|w| w.contains(char::is_alphanumeric)).count(), name));
    }
    counts.sort();
    let sum: usize = counts.iter().map(|count| count.0).sum();
    assert!(sum > 10_000 && sum <= 25_000, "{sum} words: {counts:?}");
}

/// One place has the version, and what documents say to write finds it.
#[test]
fn documents_ask_for_this_version() {
    let mut count = 0;
    for (name, text) in documents(&package()) {
        for line in text.lines() {
            let direct = line.split("mimalloc2-rust-sys = \"").nth(1);
            let renamed = line.split("package = \"mimalloc2-rust-sys\", version = \"").nth(1);
            for asked in direct.into_iter().chain(renamed) {
                let asked = asked.split('"').next().expect("a requirement");
                assert_eq!(asked, REQUIREMENT, "{name}: {line}");
                count += 1;
            }
        }
    }
    assert!(count >= 6, "{count} lines of Cargo.toml in the documents");
}

/// The rows of a table of bench/report/race.md: allocator, time, peak memory.
fn means(group: &str) -> (String, Vec<(String, f64, f64)>) {
    let race = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/report/race.md");
    let race = fs::read_to_string(race).expect("the race");
    let (_, rest) = race.split_once(&format!("## Geometric means, {group} (")).expect("a table");
    let (count, rest) = rest.split_once(" workloads)").expect("a count");
    let rows = rest.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |cell: &str| {
            let text = cell.split([' ', '*']).next().expect("a number");
            text.parse::<f64>().unwrap_or_else(|_| panic!("{line}"))
        };
        (cells[1].to_owned(), number(cells[2]), number(cells[5]))
    });
    (count.to_owned(), rows.collect())
}

/// The claim on the first page: each figure, and that no row of the race contradicts it.
#[test]
fn the_readme_tells_what_the_race_has_measured() {
    let readme = fs::read_to_string(package().join("README.md")).expect("text");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let [own, real, rust] = ["own", "real", "rust"].map(means);
    let ours = |rows: &[(String, f64, f64)]| {
        let row = rows.iter().find(|row| row.0 == "ours").expect("our row");
        (row.1, row.2)
    };
    let ((own_time, own_memory), (real_time, real_memory), (rust_time, rust_memory)) =
        (ours(&own.1), ours(&real.1), ours(&rust.1));
    let claim = format!(
        "In programs that do little else than allocate ({}), ours takes {own_time:.2} of the time of \
         mimalloc 2.1.7 and {own_memory:.2} of its memory, less than every peer; in real programs ({}) \
         and in Rust programs ({}) no allocator is measurably faster than mimalloc 2.1.7: ours takes \
         {real_time:.2} and {rust_time:.2} of its time, {real_memory:.2} and {rust_memory:.2} of its \
         memory.",
        own.0, real.0, rust.0
    );
    assert!(readme.contains(&claim), "not in the README: {claim}");
    assert!(own.1.len() == 9 && real.1.len() == 9 && rust.1.len() == 9);
    let is_least =
        |row: &(String, f64, f64)| row.0 == "ours" || (row.1 > own_time && row.2 > own_memory);
    assert!(own.1.iter().all(is_least), "{:?}", own.1);
    assert!(real.1.iter().chain(&rust.1).all(|row| row.1 >= 0.99), "{:?} {:?}", real.1, rust.1);
}

// --- which version Cargo takes ---------------------------------------------------------------------

/// A folder that Cargo takes for the registry, with this crate and the packages that matter beside
/// it.
fn registry(name: &str, ours: &str) -> PathBuf {
    let root = scratch().join(name);
    let _ = fs::remove_dir_all(&root);
    let add = |name: &str, version: &str, more: &str| {
        let folder = root.join("registry").join(format!("{name}-{version}"));
        fs::create_dir_all(folder.join("src")).expect("a folder");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n{more}\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
        fs::write(folder.join("src/lib.rs"), "").expect("a file");
        fs::write(folder.join("build.rs"), "fn main() {}").expect("a file");
        fs::write(folder.join(".cargo-checksum.json"), "{\"files\":{}}").expect("a file");
    };
    let links = "links = \"mimalloc\"";
    // As the package of this crate says it, but for its build-dependency.
    let manifest = fs::read_to_string(package().join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains(links), "{manifest}");
    add("mimalloc2-rust-sys", ours, links);
    // The older packages of this name have no `links`.
    add("mimalloc2-rust-sys", "2.1.7-source", "");
    add("mimalloc2-rust-sys", "2.2.2-source", "");
    add("mimalloc2-rust", "0.3.2", "[dependencies]\nmimalloc2-rust-sys = \"2.1.7-source\"");
    // And a package of others, whose old versions have none.
    add("libmimalloc-sys", "0.1.15", "");
    add("libmimalloc-sys", "0.1.49", links);
    add("mimalloc", "0.1.19", "[dependencies]\nlibmimalloc-sys = \"0.1.15\"");
    add("mimalloc", "0.1.52", "[dependencies]\nlibmimalloc-sys = \"0.1.49\"");
    fs::create_dir_all(root.join("program/src")).expect("a folder");
    fs::create_dir_all(root.join("program/.cargo")).expect("a folder");
    fs::write(root.join("program/src/main.rs"), "fn main() {}").expect("a file");
    let config = "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\ndirectory = \"../registry\"\n";
    fs::write(root.join("program/.cargo/config.toml"), config).expect("a file");
    root.join("program")
}

fn write_program(program: &Path, dependencies: &str) {
    let manifest =
        "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
    let manifest = format!("{manifest}[dependencies]\n{dependencies}");
    fs::write(program.join("Cargo.toml"), manifest).expect("a file");
    let _ = fs::remove_file(program.join("Cargo.lock"));
}

/// The packages that Cargo takes, or what it says when it takes none.
fn resolve(program: &Path) -> Result<BTreeSet<String>, String> {
    let output = cargo(program)
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p}"])
        .output()
        .expect("Cargo");
    if !output.status.success() {
        return Err(describe(&output));
    }
    let text = text(&output);
    let packages = text.lines().filter_map(|line| line.split(" (").next());
    Ok(packages.map(|package| package.replacen(" v", " ", 1)).collect())
}

fn ours() -> String {
    format!("mimalloc2-rust-sys {VERSION}")
}

#[test]
fn cargo_takes_this_version_and_not_an_older_one() {
    let program = registry("versions", VERSION);
    for dependency in [
        "mimalloc2-rust-sys = \"2\"".to_owned(),
        "mimalloc2-rust-sys = \"*\"".to_owned(),
        "mimalloc2-rust-sys = \"2.1\"".to_owned(),
        "mimalloc2-rust-sys = \"2.1.7\"".to_owned(),
        "mimalloc2-rust-sys = \"2.1.7-source\"".to_owned(),
        "mimalloc2-rust-sys = \"2.2.2-source\"".to_owned(),
        format!("mimalloc2-rust-sys = \"{REQUIREMENT}\""),
        format!("mimalloc2-rust-sys = \"{VERSION}\""),
        "mimalloc2-rust = \"0.3\"".to_owned(),
    ] {
        write_program(&program, &dependency);
        let packages = resolve(&program).expect(&dependency);
        assert!(packages.contains(&ours()), "{dependency}: {packages:?}");
    }

    write_program(&program, "");
    run("cargo add", cargo(&program).args(["add", "--offline", "mimalloc2-rust-sys"]));
    let manifest = fs::read_to_string(program.join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains(&format!("mimalloc2-rust-sys = \"{REQUIREMENT}.")), "{manifest}");
    assert!(resolve(&program).expect("a version").contains(&ours()));
}

/// The effect of a version with a suffix.
#[test]
fn a_pre_release_would_not_be_found() {
    let program = registry("pre-release", "2.1.7-source.1");
    write_program(&program, "mimalloc2-rust-sys = \"2\"");
    assert!(resolve(&program).is_err());
    write_program(&program, "");
    run("cargo add", cargo(&program).args(["add", "--offline", "mimalloc2-rust-sys"]));
    let packages = resolve(&program).expect("a version");
    assert!(packages.contains("mimalloc2-rust-sys 2.2.2-source"), "{packages:?}");
}

/// docs/guide.md, "Two packages link to `mimalloc`".
#[test]
fn cargo_goes_back_to_a_version_without_links_unless_the_requirement_forbids_it() {
    let program = registry("links", VERSION);
    let resolve_with = |dependencies: &str| {
        write_program(&program, dependencies);
        resolve(&program)
    };
    let new = format!("mimalloc2-rust-sys = \"{REQUIREMENT}\"\n");

    // Theirs goes back, silently.
    let packages = resolve_with(&format!("{new}mimalloc = \"0.1\"")).expect("a choice");
    assert!(packages.contains(&ours()), "{packages:?}");
    assert!(packages.contains("libmimalloc-sys 0.1.15"), "{packages:?}");
    // Or ours, where a requirement lets Cargo choose.
    let packages =
        resolve_with("mimalloc2-rust = \"0.3\"\nmimalloc = \"0.1.52\"").expect("a choice");
    assert!(packages.contains("mimalloc2-rust-sys 2.1.7-source"), "{packages:?}");

    // With requirements that no version without the key meets, Cargo stops and names both.
    for dependencies in [
        format!("{new}mimalloc = \"0.1.20\""),
        format!("{new}mimalloc = \"0.1\"\nlibmimalloc-sys = \"0.1.16\""),
        format!("mimalloc2-rust = \"0.3\"\nmimalloc = \"0.1.52\"\n{new}"),
    ] {
        let says = resolve_with(&dependencies).expect_err(&dependencies);
        assert!(says.contains("links to the native library `mimalloc`"), "{says}");
        assert!(says.contains("libmimalloc-sys") && says.contains("mimalloc2-rust-sys"), "{says}");
    }
}
