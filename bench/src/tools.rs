//! Where things lie, and small helpers around processes and files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of this package.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Build results; git ignores them.
pub fn out() -> PathBuf {
    root().join("out")
}

/// Figures and charts, which git keeps.
pub fn report() -> PathBuf {
    root().join("report")
}

pub fn make_dir(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|e| format!("{}: {e}", shown(path)))
}

pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", shown(path)))
}

pub fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", shown(path)))
}

/// A path relative to this package: reports name no machine's folders.
pub fn shown(path: &Path) -> String {
    match path.strip_prefix(root()) {
        Ok(below) => below.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// Writes figures, without the folder of this checkout, which an error message among them may name.
pub fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), String> {
    let mut text = String::new();
    unfold(value, 0, &mut text);
    write_text(path, &(text + "\n"))
}

/// Writes a report and says where.
pub fn keep(stem: &str, value: &serde_json::Value) -> Result<(), String> {
    make_dir(&report())?;
    let file = report().join(format!("{stem}.json"));
    write_json(&file, value)?;
    println!("written: {}", shown(&file));
    Ok(())
}

/// The same for text.
pub fn write_text(path: &Path, text: &str) -> Result<(), String> {
    write(path, &text.replace(&root().display().to_string(), "bench"))
}

/// One line for each entry down to this depth, with deeper values on the line of their entry: a
/// report then has one line for each cell.
const UNFOLDED: usize = 4;

fn unfold(value: &serde_json::Value, depth: usize, text: &mut String) {
    use serde_json::Value;
    let (open, close, entries): (_, _, Vec<(String, &Value)>) = match value {
        Value::Object(map) if depth < UNFOLDED && !map.is_empty() => {
            let key = |k: &String| Value::from(k.as_str()).to_string() + ": ";
            ("{", "}", map.iter().map(|(k, v)| (key(k), v)).collect())
        }
        Value::Array(list) if depth < UNFOLDED && !list.is_empty() => {
            ("[", "]", list.iter().map(|v| (String::new(), v)).collect())
        }
        _ => return text.push_str(&value.to_string()),
    };
    text.push_str(open);
    for (at, (key, entry)) in entries.iter().enumerate() {
        let separator = if at == 0 { "\n" } else { ",\n" };
        text.push_str(separator);
        text.push_str(&"  ".repeat(depth + 1));
        text.push_str(key);
        unfold(entry, depth + 1, text);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push_str(close);
}

/// Standard output of a command that must succeed; else the end of what it said on stderr.
pub fn output(command: &mut Command) -> Result<String, String> {
    both(command).map(|(said, _)| said)
}

/// What a command that succeeds says on stderr.
pub fn complaint(command: &mut Command) -> Result<String, String> {
    both(command).map(|(_, complaint)| complaint)
}

fn both(command: &mut Command) -> Result<(String, String), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = command.output().map_err(|e| format!("{name}: {e}"))?;
    if status.success() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        return Ok((text(&stdout), text(&stderr)));
    }
    let said = String::from_utf8_lossy(&stderr);
    let lines: Vec<&str> = said.lines().collect();
    let end = &lines[lines.len().saturating_sub(8)..];
    Err(format!("{name} failed, {status}\n{}", end.join("\n")))
}

/// The first line a command prints, or "unknown".
pub fn first_line(program: &str, args: &[&str]) -> String {
    output(Command::new(program).args(args))
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The first executable of this name that is a binary. A wrapper script (as version managers
/// install them) would put a shell under the preload and into the figures.
pub fn find_binary(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| is_binary(candidate))
}

fn is_binary(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0u8; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// The C compiler that builds helpers, workloads and the shared libraries.
pub fn cc() -> String {
    std::env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// Compiles one C file to a program below out/.
pub fn compile(source: &Path, flags: &[&str]) -> Result<PathBuf, String> {
    let dir = out().join("bin");
    make_dir(&dir)?;
    let stem = source.file_stem().ok_or(format!("{}: no file name", shown(source)))?;
    let program = dir.join(stem);
    output(Command::new(cc()).arg("-O2").args(flags).arg(source).arg("-o").arg(&program))?;
    Ok(program)
}
