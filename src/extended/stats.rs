//! Statistics as a structure or as JSON: what `mimalloc-stats.h` declares. *Since 2.4.1.*

use core::ffi::{c_char, c_int, c_void};
use core::mem::size_of;

use super::{mi_heap_t, mi_output_fun};
#[cfg(doc)]
use crate::*;

/// The functions of this group are there.
pub const MI_HAS_STATS: c_int = 1;
/// The version of [`mi_stats_t`].
pub const MI_STAT_VERSION: c_int = 4;
/// The number of the last bin, the one of all large blocks.
pub const MI_BIN_HUGE: usize = 73;

/// A figure that goes up and down.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct mi_stat_count_t {
    /// All that was ever added since the start or the last [`mi_stats_reset`].
    pub total: i64,
    /// The highest `current` that a request has seen since then; the real peak may be higher.
    pub peak: i64,
    /// Now. Blocks that another thread holds ready for its next allocations are taken for live, until
    /// it ends, collects or calls [`mi_stats_merge`].
    pub current: i64,
}

/// A figure that only goes up.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct mi_stat_counter_t {
    /// All that was ever added since the start or the last [`mi_stats_reset`].
    pub total: i64,
}

/// Statistics of the process or of a heap.
///
/// *Small* are the blocks up to 64 KiB, which share pages with others of their size; *large* those
/// above, which have their memory to themselves. Of a heap there are only its blocks and pages; all
/// about memory, threads and calls is of the process, and 0 there.
///
/// ```
/// use mimalloc2_rust_sys::{mi_stats_get, mi_stats_t};
///
/// let mut stats = mi_stats_t::default();
/// assert!(unsafe { mi_stats_get(&mut stats) });
/// println!("{} bytes in use", stats.committed.current);
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct mi_stats_t {
    /// The size of this structure, set by the caller; what does not fit is refused.
    pub size: usize,
    /// [`MI_STAT_VERSION`], set by the caller.
    pub version: usize,
    /// Runs of memory with blocks of one size (count); a large block counts as one.
    pub pages: mi_stat_count_t,
    /// Address space (bytes); `total` is the peak.
    pub reserved: mi_stat_count_t,
    /// Memory that may be resident (bytes): written to since it was last purged, or made accessible
    /// where that is done on demand; `total` is the peak.
    pub committed: mi_stat_count_t,
    /// Stays 0: what is given back lazily counts as purged.
    pub reset: mi_stat_counter_t,
    /// Memory given back to the system (bytes).
    pub purged: mi_stat_counter_t,
    /// Memory that pages lie in (bytes); `total` is the peak.
    pub page_committed: mi_stat_count_t,
    /// Pages of small blocks that an ended heap left (count); `total` is the peak.
    pub pages_abandoned: mi_stat_count_t,
    /// Threads that have a heap (count).
    pub threads: mi_stat_count_t,
    /// Small blocks (bytes), as [`mi_usable_size`] says.
    pub malloc_normal: mi_stat_count_t,
    /// Large blocks (bytes); of one heap, `total` is the peak.
    pub malloc_huge: mi_stat_count_t,
    /// The two before together, for what was asked for is not known.
    pub malloc_requested: mi_stat_count_t,
    /// Stays 0: not counted.
    pub mmap_calls: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub commit_calls: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub reset_calls: mi_stat_counter_t,
    /// System calls that gave memory back.
    pub purge_calls: mi_stat_counter_t,
    /// Arenas added.
    pub arena_count: mi_stat_counter_t,
    /// Allocations of small blocks.
    pub malloc_normal_count: mi_stat_counter_t,
    /// Allocations of large blocks.
    pub malloc_huge_count: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub malloc_guarded_count: mi_stat_counter_t,
    /// Stays 0: there are none.
    pub arena_rollback_count: mi_stat_counter_t,
    /// As `purge_calls`: all purges are of arenas.
    pub arena_purges: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub pages_extended: mi_stat_counter_t,
    /// Pages of small blocks that became empty and were given back.
    pub pages_retire: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub page_searches: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub page_searches_count: mi_stat_counter_t,
    /// Stays 0: there are no segments.
    pub segments: mi_stat_count_t,
    /// Stays 0: there are no segments.
    pub segments_abandoned: mi_stat_count_t,
    /// Stays 0: there are no segments.
    pub segments_cache: mi_stat_count_t,
    /// Stays 0: there are no segments.
    pub _segments_reserved: mi_stat_count_t,
    /// Stays 0: not counted.
    pub pages_reclaim_on_alloc: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub pages_reclaim_on_free: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub pages_reabandon_full: mi_stat_counter_t,
    /// Stays 0: not counted.
    pub pages_unabandon_busy_wait: mi_stat_counter_t,
    /// Room for more.
    pub _stat_reserved: [mi_stat_count_t; 4],
    /// Room for more.
    pub _stat_counter_reserved: [mi_stat_counter_t; 4],
    /// Blocks of each bin (count); see [`mi_stats_get_bin_size`].
    pub malloc_bins: [mi_stat_count_t; MI_BIN_HUGE + 1],
    /// Pages of each bin (count); of one heap, `total` is the peak.
    pub page_bins: [mi_stat_count_t; MI_BIN_HUGE + 1],
}

impl Default for mi_stats_t {
    /// All zero but for the size and the version, as [`mi_stats_get`] wants it.
    fn default() -> mi_stats_t {
        // SAFETY: numbers and arrays of numbers, for which zero is a value.
        let zero = unsafe { core::mem::zeroed::<mi_stats_t>() };
        mi_stats_t { size: size_of::<mi_stats_t>(), version: MI_STAT_VERSION as usize, ..zero }
    }
}

extern "C" {
    /// Stores the statistics of the process in `*stats`; false when it is null, or its size or
    /// version is not that of the library.
    ///
    /// # Safety
    ///
    /// `stats` is null or may be read and written.
    pub fn mi_stats_get(stats: *mut mi_stats_t) -> bool;

    /// The statistics of the process as JSON, in `buf` of `buf_size` bytes or, when `buf` is null, in
    /// a new block to be released with [`mi_free`]; null when there is no room.
    ///
    /// # Safety
    ///
    /// `buf` is null or may be written to for `buf_size` bytes.
    pub fn mi_stats_get_json(buf_size: usize, buf: *mut c_char) -> *mut c_char;

    /// `*stats` as JSON, otherwise as [`mi_stats_get_json`]; null also when it is null or its size or
    /// version is not that of the library. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// `stats` is null or may be read; `buf` as in [`mi_stats_get_json`].
    pub fn mi_stats_as_json(
        stats: *mut mi_stats_t,
        buf_size: usize,
        buf: *mut c_char,
    ) -> *mut c_char;

    /// The largest small block that is counted in a bin, bytes; 0 above the last bin. *Since 3.4.3.*
    ///
    /// Bins 1 to 5 are 8, 16, 32, 48 and 64, then there are four per doubling. Bin 0 has the blocks
    /// that were asked for with size 0; [`MI_BIN_HUGE`] all large ones, and the largest size that can
    /// be asked for is its.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_stats_get_bin_size(bin: usize) -> usize;

    /// [`mi_stats_get`] for one heap; null is that of the first thread. *Since 3.4.3.*
    ///
    /// Totals count from the start of the heap, whatever [`mi_stats_reset`] did, and peaks are the
    /// present values. Blocks that the heap got from others are in `current`, not in `total`.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap that is live, of any thread; `stats` as in [`mi_stats_get`].
    pub fn mi_heap_stats_get(heap: *mut mi_heap_t, stats: *mut mi_stats_t) -> bool;

    /// [`mi_stats_get_json`] for one heap. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// `heap` as in [`mi_heap_stats_get`]; `buf` as in [`mi_stats_get_json`].
    pub fn mi_heap_stats_get_json(
        heap: *mut mi_heap_t,
        buf_size: usize,
        buf: *mut c_char,
    ) -> *mut c_char;

    /// [`mi_stats_print_out`] for one heap. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// `heap` as in [`mi_heap_stats_get`]; otherwise as [`mi_stats_print_out`].
    pub fn mi_heap_stats_print_out(heap: *mut mi_heap_t, out: mi_output_fun, arg: *mut c_void);
}
