//! Options: their numbers, reading and setting them, and what a program may set before it starts.

use core::convert::TryFrom;
use core::ffi::{c_int, c_long};
use core::fmt;

#[cfg(doc)]
use crate::*;

/// The number of an option, one of the `mi_option_...` constants; [`MiOption`] is the same as a type.
///
/// Each option is read from the environment variable `MIMALLOC_<NAME>` when the process starts,
/// except in set-uid programs. An option without effect is stored and read back.
pub type mi_option_t = c_int;

/// Print errors and warnings (0 or 1).
pub const mi_option_show_errors: mi_option_t = 0;
/// Print statistics when the process ends (0 or 1).
pub const mi_option_show_stats: mi_option_t = 1;
/// Above 0: print the options at start, the statistics at the end, and every error and warning.
pub const mi_option_verbose: mi_option_t = 2;
/// Without effect, see [`mi_option_arena_eager_commit`].
pub const mi_option_eager_commit: mi_option_t = 3;
/// Make the memory of an arena accessible: 0 as far as it is used, 1 in steps ahead of need, 2 as 1
/// where the system overcommits, else as 0.
pub const mi_option_arena_eager_commit: mi_option_t = 4;
/// How a purge gives memory back: 1 at once, 0 lazily (0 or 1).
pub const mi_option_purge_decommits: mi_option_t = 5;
/// Place new arenas in large OS pages (2 MiB) where the system has some (0 or 1).
pub const mi_option_allow_large_os_pages: mi_option_t = 6;
/// Huge OS pages of 1 GiB to reserve at start-up (count).
pub const mi_option_reserve_huge_os_pages: mi_option_t = 7;
/// The NUMA node of [`mi_option_reserve_huge_os_pages`]; -1 spreads them over all nodes.
pub const mi_option_reserve_huge_os_pages_at: mi_option_t = 8;
/// Memory to reserve at start-up (KiB).
pub const mi_option_reserve_os_memory: mi_option_t = 9;
/// Without effect.
pub const mi_option_deprecated_segment_cache: mi_option_t = 10;
/// Without effect, see [`mi_option_purge_delay`].
pub const mi_option_deprecated_page_reset: mi_option_t = 11;
/// Without effect.
pub const mi_option_abandoned_page_purge: mi_option_t = 12;
/// Without effect.
pub const mi_option_deprecated_segment_reset: mi_option_t = 13;
/// Without effect.
pub const mi_option_eager_commit_delay: mi_option_t = 14;
/// Time before unused memory is given back (milliseconds, multiplied by
/// [`mi_option_arena_purge_mult`]; 0 at once, negative never).
pub const mi_option_purge_delay: mi_option_t = 15;
/// NUMA nodes to assume; 0 asks the system (count).
pub const mi_option_use_numa_nodes: mi_option_t = 16;
/// Allocate from reserved arenas only, never from the system (0 or 1).
pub const mi_option_disallow_os_alloc: mi_option_t = 17;
/// Without effect.
pub const mi_option_os_tag: mi_option_t = 18;
/// Errors printed at most; negative for no limit (count).
pub const mi_option_max_errors: mi_option_t = 19;
/// Warnings printed at most; negative for no limit (count).
pub const mi_option_max_warnings: mi_option_t = 20;
/// Without effect.
pub const mi_option_max_segment_reclaim: mi_option_t = 21;
/// Give unused memory back when the process ends (1); above 1 the program calls [`mi_process_done`]
/// itself. Blocks in use stay valid.
pub const mi_option_destroy_on_exit: mi_option_t = 22;
/// Size of the arenas that are reserved on demand (KiB); 0: only what a request needs.
pub const mi_option_arena_reserve: mi_option_t = 23;
/// Factor on [`mi_option_purge_delay`].
pub const mi_option_arena_purge_mult: mi_option_t = 24;
/// Without effect.
pub const mi_option_purge_extend_delay: mi_option_t = 25;
/// Without effect: a page of an ended thread goes to a thread that needs one of its class.
pub const mi_option_abandoned_reclaim_on_free: mi_option_t = 26;
/// Without effect.
pub const mi_option_disallow_arena_alloc: mi_option_t = 27;
/// Without effect.
pub const mi_option_retry_on_oom: mi_option_t = 28;
/// Without effect: [`mi_abandoned_visit_blocks`] always works. *Since 2.4.1.*
pub const mi_option_visit_abandoned: mi_option_t = 29;
/// The smallest size of a block that may get a guard page (bytes). *Since 2.4.1.*
pub const mi_option_guarded_min: mi_option_t = 30;
/// The largest size of a block that may get a guard page (bytes). *Since 2.4.1.*
pub const mi_option_guarded_max: mi_option_t = 31;
/// Without effect. *Since 2.4.1.*
pub const mi_option_guarded_precise: mi_option_t = 32;
/// Guard one of this many blocks; 0 for none (count). *Since 2.4.1.*
pub const mi_option_guarded_sample_rate: mi_option_t = 33;
/// Where the sequence of guarded blocks starts; 0 for a random place. *Since 2.4.1.*
pub const mi_option_guarded_sample_seed: mi_option_t = 34;
/// Without effect, see [`mi_collect_reduce`]. *Since 2.4.1.*
pub const mi_option_target_segments_per_thread: mi_option_t = 35;
/// Without effect. *Since 2.4.1.*
pub const mi_option_generic_collect: mi_option_t = 36;
/// Transparent huge pages: 0 none, 1 only where memory is used as a whole, 2 as 1, and elsewhere as
/// the system has them. *Since 2.4.1.*
pub const mi_option_allow_thp: mi_option_t = 37;
/// Without effect. *Since 3.4.3.*
pub const mi_option_page_reclaim_on_free: mi_option_t = 38;
/// Without effect: a thread abandons full pages at once. *Since 3.4.3.*
pub const mi_option_page_full_retain: mi_option_t = 39;
/// Without effect. *Since 3.4.3.*
pub const mi_option_page_max_candidates: mi_option_t = 40;
/// Without effect. *Since 3.4.3.*
pub const mi_option_max_vabits: mi_option_t = 41;
/// Without effect. *Since 3.4.3.*
pub const mi_option_pagemap_commit: mi_option_t = 42;
/// Without effect, see [`mi_option_arena_eager_commit`]. *Since 3.4.3.*
pub const mi_option_page_commit_on_demand: mi_option_t = 43;
/// Without effect. *Since 3.4.3.*
pub const mi_option_page_max_reclaim: mi_option_t = 44;
/// Without effect. *Since 3.4.3.*
pub const mi_option_page_cross_thread_max_reclaim: mi_option_t = 45;
/// Without effect: purges are multiples of 64 KiB. *Since 3.4.3.*
pub const mi_option_minimal_purge_size: mi_option_t = 46;
/// The largest block that lies in an arena (KiB). *Since 3.4.3.*
pub const mi_option_arena_max_object_size: mi_option_t = 47;
/// Without effect, see [`mi_heap_set_numa_affinity`]. *Since 3.4.3.*
pub const mi_option_arena_is_numa_local: mi_option_t = 48;

/// The most memory that the library opens; above it allocations fail; 0 for no limit (KiB).
/// *Extension.*
pub const mi_option_limit_hard: mi_option_t = 49;
/// Above this, the function of [`mi_register_limit`] runs; 0 for no limit (KiB). *Extension.*
pub const mi_option_limit_soft: mi_option_t = 50;
/// A hard limit as a share of the container's; 0 for none (percent). *Extension.*
pub const mi_option_limit_container: mi_option_t = 51;

/// The number of options.
pub const _mi_option_last: mi_option_t = 52;

/// Older name of [`mi_option_allow_large_os_pages`].
pub const mi_option_large_os_pages: mi_option_t = mi_option_allow_large_os_pages;
/// Older name of [`mi_option_arena_eager_commit`].
pub const mi_option_eager_region_commit: mi_option_t = mi_option_arena_eager_commit;
/// Older name of [`mi_option_purge_decommits`].
pub const mi_option_reset_decommits: mi_option_t = mi_option_purge_decommits;
/// Older name of [`mi_option_purge_delay`].
pub const mi_option_reset_delay: mi_option_t = mi_option_purge_delay;
/// Older name of [`mi_option_abandoned_page_purge`].
pub const mi_option_abandoned_page_reset: mi_option_t = mi_option_abandoned_page_purge;
/// Older name of [`mi_option_disallow_os_alloc`].
pub const mi_option_limit_os_alloc: mi_option_t = mi_option_disallow_os_alloc;
/// Name of [`mi_option_eager_commit`] in 3.4.3.
pub const mi_option_deprecated_eager_commit: mi_option_t = mi_option_eager_commit;
/// Name of [`mi_option_abandoned_page_purge`] in 3.4.3.
pub const mi_option_deprecated_abandoned_page_purge: mi_option_t = mi_option_abandoned_page_purge;
/// Name of [`mi_option_eager_commit_delay`] in 3.4.3.
pub const mi_option_deprecated_eager_commit_delay: mi_option_t = mi_option_eager_commit_delay;
/// Name of [`mi_option_max_segment_reclaim`] in 3.4.3.
pub const mi_option_deprecated_max_segment_reclaim: mi_option_t = mi_option_max_segment_reclaim;
/// Name of [`mi_option_purge_extend_delay`] in 3.4.3.
pub const mi_option_deprecated_purge_extend_delay: mi_option_t = mi_option_purge_extend_delay;

/// Makes the type with one variant for each number, so that no list can lack one.
macro_rules! typed_options {
    ($($variant:ident = $number:ident,)*) => {
        /// An option as a type, for code that wants the compiler to know which numbers there are.
        ///
        /// ```
        /// use mimalloc2_rust_sys::{mi_option_get, MiOption};
        ///
        /// let delay = unsafe { mi_option_get(MiOption::PurgeDelay.number()) };
        /// assert_eq!(MiOption::PurgeDelay.name(), "purge_delay");
        /// assert_eq!(MiOption::try_from(15), Ok(MiOption::PurgeDelay));
        /// # let _ = delay;
        /// ```
        #[repr(i32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum MiOption {
            $(#[doc = concat!("[`", stringify!($number), "`].")] $variant = $number,)*
        }

        impl MiOption {
            /// All options, in the order of their numbers.
            pub const ALL: &'static [MiOption] = &[$(MiOption::$variant,)*];

            /// The name as in the environment variable, but in lower case and without `MIMALLOC_`.
            pub fn name(self) -> &'static str {
                let name = match self {
                    $(MiOption::$variant => stringify!($number),)*
                };
                &name["mi_option_".len()..]
            }
        }

        /// The names of all options, with their prefix.
        const NAMES: &[&str] = &[$(stringify!($number),)*];
    };
}

typed_options! {
    ShowErrors = mi_option_show_errors,
    ShowStats = mi_option_show_stats,
    Verbose = mi_option_verbose,
    EagerCommit = mi_option_eager_commit,
    ArenaEagerCommit = mi_option_arena_eager_commit,
    PurgeDecommits = mi_option_purge_decommits,
    AllowLargeOsPages = mi_option_allow_large_os_pages,
    ReserveHugeOsPages = mi_option_reserve_huge_os_pages,
    ReserveHugeOsPagesAt = mi_option_reserve_huge_os_pages_at,
    ReserveOsMemory = mi_option_reserve_os_memory,
    DeprecatedSegmentCache = mi_option_deprecated_segment_cache,
    DeprecatedPageReset = mi_option_deprecated_page_reset,
    AbandonedPagePurge = mi_option_abandoned_page_purge,
    DeprecatedSegmentReset = mi_option_deprecated_segment_reset,
    EagerCommitDelay = mi_option_eager_commit_delay,
    PurgeDelay = mi_option_purge_delay,
    UseNumaNodes = mi_option_use_numa_nodes,
    DisallowOsAlloc = mi_option_disallow_os_alloc,
    OsTag = mi_option_os_tag,
    MaxErrors = mi_option_max_errors,
    MaxWarnings = mi_option_max_warnings,
    MaxSegmentReclaim = mi_option_max_segment_reclaim,
    DestroyOnExit = mi_option_destroy_on_exit,
    ArenaReserve = mi_option_arena_reserve,
    ArenaPurgeMult = mi_option_arena_purge_mult,
    PurgeExtendDelay = mi_option_purge_extend_delay,
    AbandonedReclaimOnFree = mi_option_abandoned_reclaim_on_free,
    DisallowArenaAlloc = mi_option_disallow_arena_alloc,
    RetryOnOom = mi_option_retry_on_oom,
    VisitAbandoned = mi_option_visit_abandoned,
    GuardedMin = mi_option_guarded_min,
    GuardedMax = mi_option_guarded_max,
    GuardedPrecise = mi_option_guarded_precise,
    GuardedSampleRate = mi_option_guarded_sample_rate,
    GuardedSampleSeed = mi_option_guarded_sample_seed,
    TargetSegmentsPerThread = mi_option_target_segments_per_thread,
    GenericCollect = mi_option_generic_collect,
    AllowThp = mi_option_allow_thp,
    PageReclaimOnFree = mi_option_page_reclaim_on_free,
    PageFullRetain = mi_option_page_full_retain,
    PageMaxCandidates = mi_option_page_max_candidates,
    MaxVabits = mi_option_max_vabits,
    PagemapCommit = mi_option_pagemap_commit,
    PageCommitOnDemand = mi_option_page_commit_on_demand,
    PageMaxReclaim = mi_option_page_max_reclaim,
    PageCrossThreadMaxReclaim = mi_option_page_cross_thread_max_reclaim,
    MinimalPurgeSize = mi_option_minimal_purge_size,
    ArenaMaxObjectSize = mi_option_arena_max_object_size,
    ArenaIsNumaLocal = mi_option_arena_is_numa_local,

    LimitHard = mi_option_limit_hard,
    LimitSoft = mi_option_limit_soft,
    LimitContainer = mi_option_limit_container,
}

impl MiOption {
    /// What the C functions take.
    pub const fn number(self) -> mi_option_t {
        self as mi_option_t
    }
}

impl From<MiOption> for mi_option_t {
    fn from(option: MiOption) -> mi_option_t {
        option.number()
    }
}

impl TryFrom<mi_option_t> for MiOption {
    type Error = UnknownOption;

    fn try_from(number: mi_option_t) -> Result<MiOption, UnknownOption> {
        usize::try_from(number)
            .ok()
            .and_then(|index| MiOption::ALL.get(index).copied())
            .ok_or(UnknownOption(number))
    }
}

impl fmt::Display for MiOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no option of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownOption(pub mi_option_t);

impl fmt::Display for UnknownOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no option of number {}", self.0)
    }
}

/// [`mi_default_options!`] and what it defines are there.
pub const MI_HAS_DEFAULT_OPTIONS: c_int = 1;

/// Sets options for the whole program, before its first allocation. *Extension.*
///
/// ```
/// mimalloc2_rust_sys::mi_default_options!("purge_delay=0, arena_reserve=256MiB");
/// # fn main() {
/// # use mimalloc2_rust_sys::{mi_option_get, mi_option_purge_delay};
/// # assert_eq!(unsafe { mi_option_get(mi_option_purge_delay) }, 0);
/// # }
/// ```
///
/// Values are written as in the environment, which is stronger. A name that no option has, and a value
/// that is no number, size, or word for on and off, is an error of the compiler:
///
/// ```compile_fail
/// mimalloc2_rust_sys::mi_default_options!("purge_dely=0");
/// # fn main() {}
/// ```
///
/// The macro stands once in the crate of the program itself (the one with `main`); in a library it
/// might be lost when the program is linked. It defines what C knows as `const char
/// mi_default_options[]`, which C checks only when the program starts:
///
/// ```no_run
/// #[no_mangle]
/// pub static mi_default_options: [u8; 14] = *b"purge_delay=0\0";
/// ```
#[macro_export]
macro_rules! mi_default_options {
    ($text:expr) => {
        const _: () = $crate::check_default_options(concat!($text));
        #[doc(hidden)]
        #[no_mangle]
        #[used]
        #[allow(non_upper_case_globals)]
        pub static mi_default_options: [u8; concat!($text, "\0").len()] = {
            const TEXT: &[u8] = concat!($text, "\0").as_bytes();
            let mut text = [0; TEXT.len()];
            let mut index = 0;
            while index < TEXT.len() {
                text[index] = TEXT[index];
                index += 1;
            }
            text
        };
    };
}

/// Of ours alone, and those of other versions, which C still reads. A test compares them with C's.
const OTHER_NAMES: &[&str] = &[
    "show_leaks",
    "purger",
    "eager_region_commit",
    "reset_decommits",
    "large_os_pages",
    "abandoned_page_reset",
    "deprecated_abandoned_page_purge",
    "reset_delay",
    "limit_os_alloc",
    "decommit_extend_delay",
    "deprecated_purge_extend_delay",
    "deprecated_eager_commit",
    "deprecated_eager_commit_delay",
    "deprecated_max_segment_reclaim",
];

/// What [`mi_default_options!`] does with its text while the program is compiled.
///
/// # Panics
///
/// When C would ignore one of the entries because it does not understand it.
#[doc(hidden)]
pub const fn check_default_options(text: &str) {
    let text = text.as_bytes();
    let mut start = 0;
    while start < text.len() {
        if is_separator(text[start]) {
            start += 1;
            continue;
        }
        let mut end = start;
        while end < text.len() && !is_separator(text[end]) {
            end += 1;
        }
        check_entry(text, start, end);
        start = end;
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b' ' | b'\t'..=b'\r')
}

/// `NAME` or `NAME=VALUE`, from `start` to `end`.
const fn check_entry(text: &[u8], start: usize, end: usize) {
    let mut equals = start;
    while equals < end && text[equals] != b'=' {
        equals += 1;
    }
    let prefix = b"MIMALLOC_";
    let has_prefix =
        equals - start > prefix.len() && is_equal(text, start, start + prefix.len(), prefix, 0);
    let name = if has_prefix { start + prefix.len() } else { start };
    if !is_listed(text, name, equals, NAMES, "mi_option_".len())
        && !is_listed(text, name, equals, OTHER_NAMES, 0)
    {
        refuse("mi_default_options!: no such option: ", text, start, end);
    }
    if equals < end && !is_value(text, equals + 1, end) {
        refuse(
            "mi_default_options!: neither a number nor a word for on or off: ",
            text,
            start,
            end,
        );
    }
}

/// Compares what is from `start` to `end` with what follows the first `skip` bytes of a name.
const fn is_listed(text: &[u8], start: usize, end: usize, names: &[&str], skip: usize) -> bool {
    let mut index = 0;
    while index < names.len() {
        if is_equal(text, start, end, names[index].as_bytes(), skip) {
            return true;
        }
        index += 1;
    }
    false
}

const fn is_equal(text: &[u8], start: usize, end: usize, word: &[u8], skip: usize) -> bool {
    if end - start != word.len() - skip {
        return false;
    }
    let mut index = 0;
    while index < end - start {
        if !text[start + index].eq_ignore_ascii_case(&word[skip + index]) {
            return false;
        }
        index += 1;
    }
    true
}

/// What C reads for one option or another: an integer, a size with its unit, or a word.
const fn is_value(text: &[u8], start: usize, end: usize) -> bool {
    const WORDS: &[&str] = &["", "true", "yes", "on", "false", "no", "off"];
    if is_listed(text, start, end, WORDS, 0) {
        return true;
    }
    let mut at = start;
    if text[at] == b'+' || text[at] == b'-' {
        at += 1;
    }
    let digits = at;
    while at < end && text[at].is_ascii_digit() {
        at += 1;
    }
    const UNITS: &[&str] =
        &["", "b", "k", "m", "g", "t", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"];
    at > digits && is_listed(text, at, end, UNITS, 0)
}

/// Ends the compilation with `what` and the entry.
const fn refuse(what: &str, text: &[u8], start: usize, end: usize) -> ! {
    let what = what.as_bytes();
    let mut message = [b' '; 200];
    let mut length = 0;
    while length < what.len() {
        message[length] = what[length];
        length += 1;
    }
    let mut at = start;
    while at < end && length < message.len() {
        message[length] = text[at];
        length += 1;
        at += 1;
    }
    match core::str::from_utf8(&message) {
        Ok(message) => panic!("{}", message),
        Err(_) => panic!("mi_default_options!: a name or a value that is no ASCII text"),
    }
}

// Options. One that does not exist reads as 0 and ignores being set.
extern "C" {
    /// Whether the value of `option` is not 0.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_is_enabled(option: mi_option_t) -> bool;

    /// Sets `option` to 1.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_enable(option: mi_option_t);

    /// Sets `option` to 0.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_disable(option: mi_option_t);

    /// Sets `option` to 1 or 0.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set_enabled(option: mi_option_t, enable: bool);

    /// [`mi_option_set_default`] to 1 or 0.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set_enabled_default(option: mi_option_t, enable: bool);

    /// The value of `option` in its own unit.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_get(option: mi_option_t) -> c_long;

    /// The value of `option`, but at least `min` and at most `max`.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_get_clamp(option: mi_option_t, min: c_long, max: c_long) -> c_long;

    /// The value of `option` in bytes: options counted in KiB are multiplied by 1024.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_get_size(option: mi_option_t) -> usize;

    /// Sets `option` to `value`, over the environment.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set(option: mi_option_t, value: c_long);

    /// Sets `option` to `value` while neither the environment nor the program has set it.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set_default(option: mi_option_t, value: c_long);
}
