//! An inverted index of a directory tree, under the system allocator and under ours.
//!
//! ```text
//! cargo run --release --example index [DIRECTORY]
//! ```
//!
//! Worker threads read the files (by default those of this package), cut them into words and hand
//! the words over to merging threads, which keep for each word the documents and positions where it
//! occurs. Then the threads answer some thousands of queries for documents with all of two or three
//! words, and drop the index. So memory is allocated in one thread and released in another all the
//! time, as in a server.
//!
//! The program runs itself as child processes, in turn with either allocator, and compares the best
//! run of each. Both use the same executable; an environment variable tells the child which
//! allocator it is about.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::env;
use std::ffi::c_char;
use std::fs;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{exit, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use mimalloc2_rust_sys::MiMalloc;

// ---- the choice of the allocator ------------------------------------------------------------

/// Tells a child process its allocator.
const CHOICE_VARIABLE: &str = "INDEX_EXAMPLE_ALLOCATOR";
/// The same for C.
const CHOICE_VARIABLE_C: &[u8] = b"INDEX_EXAMPLE_ALLOCATOR\0";

const UNDECIDED: u8 = 0;
const SYSTEM: u8 = 1;
const OURS: u8 = 2;

/// Sends each call to the allocator that this process measures. Both pay the same for the choice.
struct Choice(AtomicU8);

#[global_allocator]
static GLOBAL: Choice = Choice(AtomicU8::new(UNDECIDED));

impl Choice {
    #[inline]
    fn is_ours(&self) -> bool {
        // Relaxed: nothing but the value itself travels, and every thread would compute the same.
        match self.0.load(Ordering::Relaxed) {
            UNDECIDED => self.decide(),
            choice => choice == OURS,
        }
    }

    /// Asks the C library for the variable because `std::env` would allocate.
    #[cold]
    fn decide(&self) -> bool {
        extern "C" {
            fn getenv(name: *const c_char) -> *const c_char;
        }
        // SAFETY: the name has a terminator; no code changes the environment of a child, and the
        // parent decides before its first thread.
        let ours = unsafe {
            let value = getenv(CHOICE_VARIABLE_C.as_ptr().cast::<c_char>());
            !value.is_null() && *value as u8 == b'm'
        };
        self.0.store(if ours { OURS } else { SYSTEM }, Ordering::Relaxed);
        ours
    }
}

// SAFETY: each call goes to one and the same of two allocators that keep the rules.
unsafe impl GlobalAlloc for Choice {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.is_ours() {
            MiMalloc.alloc(layout)
        } else {
            System.alloc(layout)
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.is_ours() {
            MiMalloc.alloc_zeroed(layout)
        } else {
            System.alloc_zeroed(layout)
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if self.is_ours() {
            MiMalloc.dealloc(ptr, layout)
        } else {
            System.dealloc(ptr, layout)
        }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if self.is_ours() {
            MiMalloc.realloc(ptr, layout, new_size)
        } else {
            System.realloc(ptr, layout, new_size)
        }
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let is_child = env::var_os(CHOICE_VARIABLE).is_some();
    if is_child {
        run_child(&arguments);
    } else {
        run_parent(&arguments);
    }
}

// ---- the index ------------------------------------------------------------------------------

/// FNV-1a: fast for short words, and the same in every process, unlike the hasher of `std`.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn hash_text(text: &str) -> u64 {
    let mut hasher = Fnv::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

type WordMap<V> = HashMap<String, V, BuildHasherDefault<Fnv>>;

/// The occurrences of one word in one document.
struct Posting {
    document: u32,
    /// Counted in words from the start of the document.
    positions: Vec<u32>,
}

/// The words of one document that belong to one shard.
struct Delivery {
    document: u32,
    words: Vec<(String, Vec<u32>)>,
}

/// The words whose hash falls to this part of the index.
type Shard = WordMap<Vec<Posting>>;

struct Index {
    shards: Vec<Shard>,
}

impl Index {
    fn postings(&self, word: &str) -> &[Posting] {
        let shard = &self.shards[shard_of(word, self.shards.len())];
        shard.get(word).map_or(&[], |postings| postings.as_slice())
    }
}

fn shard_of(word: &str, shards: usize) -> usize {
    // The low bits choose the place inside the map, so the shard is taken from the high ones.
    ((hash_text(word) >> 32) % shards as u64) as usize
}

/// Longer ones are rarely words.
const WORD_BYTES: std::ops::RangeInclusive<usize> = 2..=40;
/// Files above this size are data rather than text.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// How many deliveries may wait for a merging thread, so that the queue does not become the load.
const QUEUE_LENGTH: usize = 64;

/// The text of a file; nothing for one that looks like binary data or cannot be read.
fn read_text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let is_binary = bytes.iter().take(8 << 10).any(|&byte| byte == 0);
    if is_binary {
        return None;
    }
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn words_of(text: &str) -> WordMap<Vec<u32>> {
    let mut words: WordMap<Vec<u32>> = WordMap::default();
    let mut position = 0;
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
        if WORD_BYTES.contains(&word.len()) {
            words.entry(word.to_lowercase()).or_default().push(position);
            position += 1;
        }
    }
    words
}

/// Takes files until there are no more, and sends their words to the shards.
fn read_files(
    files: &[PathBuf],
    next: &AtomicUsize,
    shards: &[SyncSender<Delivery>],
    progress: &Progress,
) {
    loop {
        // Relaxed: the counter only has to give each number once.
        let number = next.fetch_add(1, Ordering::Relaxed);
        let path = match files.get(number) {
            Some(path) => path,
            None => return,
        };
        let document = number as u32;
        let mut deliveries: Vec<Delivery> =
            shards.iter().map(|_| Delivery { document, words: Vec::new() }).collect();
        for (word, positions) in read_text(path).map(|text| words_of(&text)).unwrap_or_default() {
            let shard = shard_of(&word, shards.len());
            deliveries[shard].words.push((word, positions));
        }
        for (shard, delivery) in shards.iter().zip(deliveries) {
            shard.send(delivery).expect("a merging thread ends after its senders");
        }
        progress.step();
    }
}

/// Merges what the readers send; the words of the readers that are known already are dropped here.
fn merge(deliveries: Receiver<Delivery>) -> Shard {
    let mut shard = Shard::default();
    for delivery in deliveries {
        let document = delivery.document;
        for (word, positions) in delivery.words {
            shard.entry(word).or_default().push(Posting { document, positions });
        }
    }
    // Deliveries arrive in any order, queries rely on that of the documents.
    for postings in shard.values_mut() {
        postings.sort_unstable_by_key(|posting| posting.document);
        postings.shrink_to_fit();
    }
    shard
}

fn build_index(files: &[PathBuf], threads: usize, progress: &Progress) -> Index {
    let next = AtomicUsize::new(0);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..threads).map(|_| sync_channel(QUEUE_LENGTH)).unzip();
    let shards = thread::scope(|scope| {
        let mergers: Vec<_> =
            receivers.into_iter().map(|receiver| scope.spawn(move || merge(receiver))).collect();
        for _ in 0..threads {
            let (senders, next) = (senders.clone(), &next);
            scope.spawn(move || read_files(files, next, &senders, progress));
        }
        drop(senders); // the merging threads end when the last reader has ended
        mergers.into_iter().map(|merger| merger.join().expect("no merging thread panics")).collect()
    });
    Index { shards }
}

// ---- the queries ----------------------------------------------------------------------------

const QUERIES: usize = 2000;
/// Answers per query.
const TOP: usize = 10;

/// xorshift64*: small, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit as u64) as usize
    }
}

/// All words, those of many documents first.
fn vocabulary(index: &Index) -> Vec<(&str, usize)> {
    let mut words: Vec<(&str, usize)> = index
        .shards
        .iter()
        .flat_map(|shard| shard.iter().map(|(word, postings)| (word.as_str(), postings.len())))
        .collect();
    words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    words
}

/// Two or three words; common ones more often, or few queries would have an answer.
fn make_queries(index: &Index) -> Vec<Vec<String>> {
    let words = vocabulary(index);
    let mut random = Random(0x5eed);
    if words.is_empty() {
        return Vec::new();
    }
    let mut pick = || {
        let below_all = random.below(words.len()) + 1;
        let below_some = random.below(below_all) + 1;
        words[random.below(below_some)].0.to_string()
    };
    (0..QUERIES).map(|query| (0..2 + query % 2).map(|_| pick()).collect()).collect()
}

/// A document with all words of a query.
struct Hit {
    document: u32,
    score: u64,
    first_position: u32,
}

/// Rare words and frequent occurrences count. In whole numbers, so that every machine agrees.
fn score(posting: &Posting, documents_with_word: usize) -> u64 {
    posting.positions.len() as u64 * 1_000_000 / documents_with_word as u64
}

fn search(index: &Index, words: &[String]) -> Vec<Hit> {
    let lists: Vec<&[Posting]> = words.iter().map(|word| index.postings(word)).collect();
    let (first, others) = lists.split_first().expect("a query has words");
    let mut hits: Vec<Hit> = Vec::new();
    for posting in first.iter() {
        let mut hit = Hit {
            document: posting.document,
            score: score(posting, first.len()),
            first_position: posting.positions[0],
        };
        let in_all = others.iter().all(|list| {
            match list.binary_search_by_key(&posting.document, |other| other.document) {
                Ok(found) => {
                    hit.score += score(&list[found], list.len());
                    hit.first_position = hit.first_position.min(list[found].positions[0]);
                    true
                }
                Err(_) => false,
            }
        });
        if in_all {
            hits.push(hit);
        }
    }
    hits.sort_unstable_by(|a, b| b.score.cmp(&a.score).then(a.document.cmp(&b.document)));
    hits
}

/// The output that a user of a search program would see.
fn render(words: &[String], hits: &[Hit], files: &[PathBuf]) -> Vec<String> {
    let mut lines = vec![format!("{}: {} documents", words.join(" AND "), hits.len())];
    lines.extend(hits.iter().take(TOP).enumerate().map(|(rank, hit)| {
        let name = files[hit.document as usize].to_string_lossy();
        format!("{:>3}. {name} (score {}, from word {})", rank + 1, hit.score, hit.first_position)
    }));
    lines
}

/// The results of all queries; the hash does not depend on the order of the threads.
#[derive(Default)]
struct Answers {
    hits: AtomicU64,
    hash: AtomicU64,
}

fn answer_queries(index: &Index, files: &[PathBuf], threads: usize) -> Answers {
    let queries = make_queries(index);
    let answers = Answers::default();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                // Relaxed here and below: sums, read after the threads were joined.
                let number = next.fetch_add(1, Ordering::Relaxed);
                let words = match queries.get(number) {
                    Some(words) => words,
                    None => return,
                };
                let hits = search(index, words);
                let lines = render(words, &hits, files);
                let hash = hash_text(&format!("{number} {}", lines.join("\n")));
                answers.hits.fetch_add(hits.len() as u64, Ordering::Relaxed);
                answers.hash.fetch_add(hash, Ordering::Relaxed);
            });
        }
    });
    answers
}

/// Drops each shard in a thread of its own, which is not the one that allocated its blocks.
fn drop_index(index: Index) {
    thread::scope(|scope| {
        for shard in index.shards {
            scope.spawn(move || drop(shard));
        }
    });
}

// ---- one run, in a child process -------------------------------------------------------------

/// Tells the parent on standard output how far we are, at most a hundred times.
struct Progress {
    total: usize,
    done: AtomicUsize,
}

impl Progress {
    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let percent = done * 100 / self.total;
        if percent != (done - 1) * 100 / self.total {
            println!("progress {percent}");
        }
    }
}

/// The results of a run travel as lines "name number".
fn run_child(arguments: &[String]) {
    let (root, passes) = match arguments {
        [root, passes] => (Path::new(root), passes.parse::<usize>().expect("a number of passes")),
        _ => panic!("a child process is started with a folder and a number of passes"),
    };
    let files = list_files(root);
    let threads = thread_count();
    let progress = Progress { total: (files.len() * passes).max(1), done: AtomicUsize::new(0) };

    let (mut words, mut postings, mut hits, mut hash) = (0, 0, 0, 0);
    let mut times = [Duration::ZERO; 3];
    for _ in 0..passes {
        let start = Instant::now();
        let index = build_index(&files, threads, &progress);
        let indexed = Instant::now();
        let answers = answer_queries(&index, &files, threads);
        let answered = Instant::now();
        words = index.shards.iter().map(|shard| shard.len()).sum();
        postings = index.shards.iter().flat_map(|shard| shard.values()).map(Vec::len).sum();
        hits = answers.hits.into_inner();
        hash = answers.hash.into_inner();
        let counted = Instant::now();
        drop_index(index);
        times[0] += indexed - start;
        times[1] += answered - indexed;
        times[2] += counted.elapsed();
    }

    let usage = Usage::of_this_process();
    let micros = |time: Duration| time.as_micros() as u64;
    let results = [
        ("index_us", micros(times[0])),
        ("query_us", micros(times[1])),
        ("drop_us", micros(times[2])),
        ("peak_bytes", usage.peak_bytes),
        ("minor_faults", usage.minor_faults),
        ("cpu_us", usage.cpu_micros),
        ("files", files.len() as u64),
        ("words", words as u64),
        ("postings", postings as u64),
        ("hits", hits),
        ("hash", hash),
    ];
    for (name, value) in results {
        println!("{name} {value}");
    }
}

fn thread_count() -> usize {
    thread::available_parallelism().map_or(2, NonZeroUsize::get).clamp(2, 8)
}

/// The files below `root` in a fixed order, without version control and build results.
fn list_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(_) => continue, // not ours to read
        };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            match entry.metadata() {
                Ok(data) if data.is_dir() && name != ".git" && name != "target" => {
                    folders.push(path);
                }
                Ok(data) if data.is_file() && data.len() <= FILE_BYTES_MAX => files.push(path),
                _ => {}
            }
        }
    }
    files.sort_unstable();
    files
}

/// Zero stands for unknown.
#[derive(Default)]
struct Usage {
    peak_bytes: u64,
    minor_faults: u64,
    cpu_micros: u64,
}

#[cfg(all(unix, target_pointer_width = "64"))]
impl Usage {
    fn of_this_process() -> Usage {
        /// As 64-bit Unix systems have it: user and system time, each in seconds and
        /// microseconds, then long integers.
        #[repr(C)]
        #[derive(Default)]
        struct Rusage {
            times: [i64; 4],
            peak_resident: i64,
            sizes: [i64; 3],
            minor_faults: i64,
            others: [i64; 9],
        }
        extern "C" {
            fn getrusage(who: i32, usage: *mut Rusage) -> i32;
        }
        const THIS_PROCESS: i32 = 0;
        let mut usage = Rusage::default();
        // SAFETY: the structure is as large as the system's, which writes nothing else.
        if unsafe { getrusage(THIS_PROCESS, &mut usage) } != 0 {
            return Usage::default();
        }
        let unit = if cfg!(any(target_os = "macos", target_os = "ios")) { 1 } else { 1024 };
        let peak_bytes = peak_of_address_space().unwrap_or(usage.peak_resident as u64 * unit);
        let [seconds, micros, more_seconds, more_micros] = usage.times;
        // macOS has 32 bits for the microseconds, and padding after them.
        let cpu_micros = (seconds + more_seconds) * 1_000_000
            + (micros & 0xffff_ffff)
            + (more_micros & 0xffff_ffff);
        Usage { peak_bytes, minor_faults: usage.minor_faults as u64, cpu_micros: cpu_micros as u64 }
    }
}

#[cfg(not(all(unix, target_pointer_width = "64")))]
impl Usage {
    fn of_this_process() -> Usage {
        Usage::default()
    }
}

/// Linux counts what the parent had when the child was started into the child's getrusage();
/// this figure begins with the program.
#[cfg(all(unix, target_pointer_width = "64"))]
fn peak_of_address_space() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

// ---- the comparison, in the parent process -----------------------------------------------------

/// Children per allocator.
const ROUNDS: usize = 5;
/// How long a child should take at least, so that start-up does not count.
const RUN_MICROS: u64 = 1_500_000;
const PASSES_MAX: u64 = 2000;

/// The numbers that a child printed.
type Numbers = HashMap<String, u64>;

fn number(numbers: &Numbers, name: &str) -> u64 {
    numbers.get(name).copied().unwrap_or_else(|| panic!("a child did not report {name}"))
}

fn total_micros(numbers: &Numbers) -> u64 {
    ["index_us", "query_us", "drop_us"].iter().map(|name| number(numbers, name)).sum()
}

fn run_parent(arguments: &[String]) {
    let root = match arguments {
        [] => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        [root] if !root.starts_with('-') => PathBuf::from(root),
        _ => stop("usage: index [DIRECTORY]"),
    };
    let root = match fs::canonicalize(&root) {
        Ok(root) if root.is_dir() => root,
        _ => stop(&format!("{} is not a folder", root.display())),
    };

    let mut bar = Bar::new(1 + 2 * ROUNDS);
    // The first run tells how much work there is; it also brings the files into memory.
    let first = run_once("system", &root, 1, &mut bar);
    if number(&first, "words") == 0 {
        stop(&format!("no text found in {}", root.display()));
    }
    let passes = (RUN_MICROS / total_micros(&first).max(1) + 1).min(PASSES_MAX);

    let (mut system, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turn, and the order changes, so that a slow phase of the machine hits both.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                system.push(run_once("system", &root, passes, &mut bar));
            } else {
                ours.push(run_once("mimalloc", &root, passes, &mut bar));
            }
        }
    }
    bar.clear();

    print_comparison(&root, passes, &system, &ours);
    let answers = |run: &Numbers| ["words", "postings", "hits", "hash"].map(|n| number(run, n));
    if system.iter().chain(&ours).any(|run| answers(run) != answers(&first)) {
        stop("the answers differ between the runs");
    }
    println!("Every run gave the same answers (hash {:016x}).", number(&first, "hash"));
}

fn run_once(allocator: &str, root: &Path, passes: u64, bar: &mut Bar) -> Numbers {
    let program = env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .arg(root)
        .arg(passes.to_string())
        .env(CHOICE_VARIABLE, allocator)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let mut numbers = Numbers::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("a child writes text");
        let (name, value) = line.split_once(' ').expect("a name and a number");
        let value = value.parse::<u64>().expect("a number");
        if name == "progress" {
            bar.show(value as usize);
        } else {
            numbers.insert(name.to_string(), value);
        }
    }
    let status = child.wait().expect("a child can be waited for");
    if !status.success() {
        stop(&format!("the run under {allocator} failed: {status}"));
    }
    bar.finish_run();
    numbers
}

fn print_comparison(root: &Path, passes: u64, system: &[Numbers], ours: &[Numbers]) {
    let any = &system[0];
    println!("Inverted index of {}", root.display());
    println!(
        "{} files, {} words, {} postings; {QUERIES} queries, {} hits",
        number(any, "files"),
        number(any, "words"),
        number(any, "postings"),
        number(any, "hits"),
    );
    println!(
        "{} threads; passes per run: {passes}; best of {ROUNDS} runs each, in turn\n",
        2 * thread_count()
    );
    println!("{:<26}{:>12}{:>12}{:>9}", "", "system", "mimalloc", "ratio");

    let best = |runs: &[Numbers], value: &dyn Fn(&Numbers) -> u64| runs.iter().map(value).min();
    let row = |label: &str, unit: f64, digits: usize, value: &dyn Fn(&Numbers) -> u64| {
        let (a, b) = (best(system, value).unwrap_or(0), best(ours, value).unwrap_or(0));
        if a == 0 || b == 0 {
            println!("{label:<26}{:>12}{:>12}{:>9}", "unknown", "unknown", "-");
            return;
        }
        let (a, b) = (a as f64 / unit, b as f64 / unit);
        println!("{label:<26}{a:>12.digits$}{b:>12.digits$}{:>9.2}", b / a);
    };
    row("building the index, s", 1e6, 3, &|run| number(run, "index_us"));
    row("answering queries, s", 1e6, 3, &|run| number(run, "query_us"));
    row("dropping the index, s", 1e6, 3, &|run| number(run, "drop_us"));
    row("time in total, s", 1e6, 3, &total_micros);
    row("processor time, s", 1e6, 3, &|run| number(run, "cpu_us"));
    row("peak resident memory, MiB", 1_048_576.0, 1, &|run| number(run, "peak_bytes"));
    row("page faults", 1.0, 0, &|run| number(run, "minor_faults"));
    println!();
}

fn stop(message: &str) -> ! {
    eprintln!("index: {message}");
    exit(1);
}

/// A progress bar on standard error, for a terminal and when there is something to wait for.
struct Bar {
    runs: usize,
    finished: usize,
    start: Instant,
    is_terminal: bool,
    is_shown: bool,
}

impl Bar {
    const WIDTH: usize = 40;
    const PATIENCE: Duration = Duration::from_secs(2);

    fn new(runs: usize) -> Bar {
        let is_terminal = stderr_is_terminal();
        Bar { runs, finished: 0, start: Instant::now(), is_terminal, is_shown: false }
    }

    /// `percent` of the current run.
    fn show(&mut self, percent: usize) {
        if self.is_terminal && self.start.elapsed() > Bar::PATIENCE {
            let permille = (self.finished * 1000 + percent.min(100) * 10) / self.runs;
            let filled = permille * Bar::WIDTH / 1000;
            eprint!(
                "\r[{:<width$}] {:>3} %",
                "#".repeat(filled),
                permille / 10,
                width = Bar::WIDTH
            );
            self.is_shown = true;
        }
    }

    fn finish_run(&mut self) {
        self.finished += 1;
    }

    fn clear(&self) {
        if self.is_shown {
            eprint!("\r{:width$}\r", "", width = Bar::WIDTH + 8);
        }
    }
}

/// By hand because `std` can tell only since Rust 1.70.
#[cfg(unix)]
fn stderr_is_terminal() -> bool {
    extern "C" {
        fn isatty(descriptor: i32) -> i32;
    }
    const STDERR: i32 = 2;
    // SAFETY: takes any number.
    unsafe { isatty(STDERR) == 1 }
}

#[cfg(not(unix))]
fn stderr_is_terminal() -> bool {
    false
}
