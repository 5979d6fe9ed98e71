//! A memory allocator written from scratch in C, with the public C interface of mimalloc 2.1.7, and
//! its Rust bindings.
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: mimalloc2_rust_sys::MiMalloc = mimalloc2_rust_sys::MiMalloc;
//! ```
//!
//! [`MiMalloc`] is all that most programs need. The C functions stand beside it under their C
//! names: the basic and the aligned ones always, the others with the feature `extended` (on by
//! default). C code of dependents finds `mimalloc.h` in the folder that `DEP_MIMALLOC_INCLUDE_DIR`
//! names in their build scripts.
//!
//! # Features
//!
//! | feature | effect |
//! |---|---|
//! | `extended` | bindings beyond the basic and the aligned functions (default) |
//! | `secure` | a free of anything but a live block ends the program; links of free lists lie apart from blocks |
//! | `secure-full` | the same, guard pages, random placement, checks for overflows and writes after free, zeroing |
//! | `debug` | assertions, invariant checks, messages on standard error; slow |
//! | `debug_in_debug` | the same, in profiles with debug information only |
//! | `override` | `malloc`, `free`, `operator new` and the like of the whole program are ours too |
//! | `local-dynamic-tls` | for a library that is loaded with `dlopen()`, see below |
//! | `valgrind` | blocks are made known to Valgrind, whose headers must be installed; slow |
//! | `asan` | blocks are made known to AddressSanitizer (`-Zsanitizer=address`); slow |
//! | `no_thp` | the option `allow_thp` is off by default: no transparent huge pages |
//! | `skip-collect-on-exit` | memory is left alone when the process ends |
//! | `asm` | the assembler listing of the C code stays beside its object file |
//!
//! ## `override`
//!
//! The crate must be linked: a program that names nothing of it says `use mimalloc2_rust_sys as _;`.
//! Then Rust, C and C++ in the program and in all its shared libraries allocate from us, also in a
//! static executable.
//!
//! rustc does not export these names from a shared library that is written in Rust (`cdylib`): its
//! own code, Rust and C, allocates from us, and the program around it keeps its allocator. So the
//! library itself must release the blocks that it allocates. What the C library allocates for such a
//! library, for example in `realpath()`, is not ours; our `free` notices this and does nothing, which
//! is a leak. For a whole C program preload or link the C library that CMake builds.
//!
//! ## `local-dynamic-tls`
//!
//! Without it the C code reaches its thread-local data in one instruction, through an offset that is
//! fixed when the program starts. The loader keeps little room for such data of libraries that are
//! loaded later. When it is used up, `dlopen()` fails with "cannot allocate memory in static TLS
//! block". The feature takes this limit away and costs a call per allocation.
//!
//! ## Sanitizers and Miri
//!
//! A sanitizer of rustc brings a `malloc` of its own, so `override` is off with one, and with `asan`; the
//! build script says so. Under Miri [`MiMalloc`] takes its blocks from the interpreter, which checks each of
//! them; [`MiMalloc::usable_size`] panics there, and the C functions cannot be called.
//!
//! # Defaults of a build, of a program, of a run
//!
//! An option has the value that the build gave it, over that the program's, over that the
//! environment's:
//!
//! * of the build: `MI_DEFAULT_<OPTION>` in the environment of `cargo build`, an integer in the unit
//!   of the option, for example `MI_DEFAULT_PURGE_DELAY=0`; a name that no option has stops the build;
//! * of the program: the macro `mi_default_options!`, read before anything is allocated; what it does
//!   not understand does not compile;
//! * of the run: `MIMALLOC_<OPTION>` in the environment of the process.
//!
//! # Instead of other crates
//!
//! `mimalloc2-rust-sys` and `mimalloc-rust-sys` had the same functions in seven modules, which are
//! here again (feature `extended`): `aligned_allocation`, `basic_allocation`, `extended_functions`,
//! `heap`, `runtime_options`, `types`, `utils`. `libmimalloc-sys` had them at the root, as we do: a
//! dependency of the form `libmimalloc-sys = { package = "mimalloc2-rust-sys", ... }` compiles its
//! users. For them these feature names exist: `local_dynamic_tls` (our `local-dynamic-tls`), `arena`
//! (implies `extended`), and `v2` and `win_direct_tls` without effect. Of its items only
//! `mi_theap_t` and `mi_theap_zalloc_small` are missing, because a heap belongs to one thread here.
//! Use `mi_heap_t` and `mi_heap_zalloc_small`.
//!
//! # What holds for every function
//!
//! * Sizes, alignments and offsets are in bytes.
//! * Every function may be called from any thread at any time, unless its text says otherwise.
//! * A block belongs to the caller until it is released with [`mi_free`] (or one of its sized
//!   forms), by whichever thread.
//! * Functions that return a block return null when memory runs out or the size is too large; what
//!   was passed in stays valid then.
//! * The contents of a block are unspecified where the text does not say zero.
//! * Everything is part of the 2.1.7 interface, except where the text says *since* which version, or
//!   *Extension*, which means ours alone.
//!
//! # Safety
//!
//! All functions are `unsafe` because Rust cannot check what the C side does. *No conditions* below
//! means that every value of the right type may be passed. A *live block* is a pointer that one of
//! the allocating functions returned and that was not released since.
#![no_std]
#![allow(non_camel_case_types, non_upper_case_globals)]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

use core::ffi::{c_char, c_int, c_void};

#[cfg(feature = "extended")]
mod compat;
#[cfg(feature = "extended")]
pub mod extended;
#[cfg(not(miri))]
mod global;
#[cfg(miri)]
mod miri;

#[cfg(feature = "extended")]
pub use compat::{
    aligned_allocation, basic_allocation, extended_functions, heap, runtime_options, types, utils,
};
#[cfg(feature = "extended")]
pub use extended::*;
/// The allocator, for use as `#[global_allocator]`.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mimalloc2_rust_sys::MiMalloc = mimalloc2_rust_sys::MiMalloc;
///
/// let numbers: Vec<u64> = (0..1000).collect();
/// assert_eq!(numbers.iter().sum::<u64>(), 499_500);
/// ```
///
/// It has no state of its own: all values of this type stand for the one allocator of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct MiMalloc;

/// The version of the interface that these bindings are for, as [`mi_version`] returns it: 217.
pub const MI_MALLOC_VERSION: c_int = 217;

/// Makes the linker take our object file out of its archive, with its constructors and its
/// definitions of `malloc` and the others, even when the program calls none of our functions.
/// One reference is enough because the C library is one object file.
#[cfg(all(feature = "override", not(miri)))]
#[used]
static TAKE_THE_OBJECT: unsafe extern "C" fn(usize) -> *mut c_void = mi_malloc;

// Basic allocation.
extern "C" {
    /// A block of at least `size` bytes, aligned to 16 bytes (to 8 when `size` is 0).
    ///
    /// `size` 0 gives a distinct block that must be released like any other.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_malloc(size: usize) -> *mut c_void;

    /// A zeroed block for `count` elements of `size` bytes each, aligned like [`mi_malloc`].
    ///
    /// The whole usable size is zero. Null also when the product overflows.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_calloc(count: usize, size: usize) -> *mut c_void;

    /// [`mi_malloc`] with the whole usable size zero.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_zalloc(size: usize) -> *mut c_void;

    /// Resizes the block `p` to `newsize` bytes and returns it; it may have moved.
    ///
    /// The first bytes, as many as old and new size have in common, keep their contents. A null `p`
    /// allocates. A `newsize` of 0 gives a minimal block, not null. On failure null, and `p` stays
    /// as it was. The result is aligned like that of [`mi_malloc`].
    ///
    /// # Safety
    ///
    /// `p` is null or a live block; unless the result is null, only the result may be used
    /// afterwards.
    pub fn mi_realloc(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// `p` when its block has room for `newsize` bytes where it is, else null.
    ///
    /// Never moves and never releases: `p` stays valid either way.
    ///
    /// # Safety
    ///
    /// `p` is null or a live block.
    pub fn mi_expand(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// Releases the block `p`. Null is ignored, and `errno` is kept.
    ///
    /// # Safety
    ///
    /// `p` is null or a live block, and is not used afterwards.
    pub fn mi_free(p: *mut c_void);

    /// [`mi_free`] for a caller who knows that `size` bytes were asked for; used for checks.
    ///
    /// # Safety
    ///
    /// As [`mi_free`]; `size` is what the last (re)allocation of the block asked for.
    pub fn mi_free_size(p: *mut c_void, size: usize);

    /// [`mi_free_size`] for a block that was asked for with `alignment`.
    ///
    /// # Safety
    ///
    /// As [`mi_free_size`]; `p` is a multiple of `alignment`.
    pub fn mi_free_size_aligned(p: *mut c_void, size: usize, alignment: usize);

    /// The bytes from `p` to the end of its block, all of which may be used; at least what was asked
    /// for. 0 for null and for an address that is not ours.
    ///
    /// # Safety
    ///
    /// The block that `p` points into, if any, is not released meanwhile.
    pub fn mi_usable_size(p: *const c_void) -> usize;

    /// A copy of the string `s` in a new block; null for null.
    ///
    /// # Safety
    ///
    /// `s` is null or points to a string with a terminator.
    pub fn mi_strdup(s: *const c_char) -> *mut c_char;

    /// A copy of at most `n` bytes of `s`, and a terminator, in a new block; null for null.
    ///
    /// # Safety
    ///
    /// `s` is null or may be read up to its terminator or for `n` bytes, whichever comes first.
    pub fn mi_strndup(s: *const c_char, n: usize) -> *mut c_char;

    /// The absolute path of the file `fname`, without links and dots.
    ///
    /// Written to `resolved_name`, which is returned then; when that is null, to a new block. On
    /// failure null and `errno`.
    ///
    /// # Safety
    ///
    /// `fname` is a string with a terminator; `resolved_name` is null or has room for `PATH_MAX`
    /// bytes.
    pub fn mi_realpath(fname: *const c_char, resolved_name: *mut c_char) -> *mut c_char;

    /// The version of the interface: major * 100 + minor * 10 + patch, 217 for 2.1.7.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_version() -> c_int;
}

/// The functions for requests whose alignment is at most 8, such as [`mi_malloc_align8`], are
/// there.
pub const MI_HAS_ALIGN8: c_int = 1;

// Requests whose alignment is known to be at most 8.
extern "C" {
    /// [`mi_malloc`] for a request that needs an alignment of at most 8 bytes. *Extension.*
    ///
    /// Size classes that are odd multiples of 8 (24, 40, 56, ...) may serve it, which saves memory.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_malloc_align8(size: usize) -> *mut c_void;

    /// [`mi_zalloc`] for a request that needs an alignment of at most 8 bytes. *Extension.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_zalloc_align8(size: usize) -> *mut c_void;

    /// [`mi_realloc`] whose result needs an alignment of at most 8 bytes. *Extension.*
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`].
    pub fn mi_realloc_align8(p: *mut c_void, newsize: usize) -> *mut c_void;
}

// Aligned allocation. An alignment that is not a power of two gives null.
extern "C" {
    /// A block of at least `size` bytes whose address is a multiple of `alignment`.
    ///
    /// Null also when `alignment` is not a power of two.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_malloc_aligned(size: usize, alignment: usize) -> *mut c_void;

    /// A block `p` of at least `size` bytes such that `p + offset` is a multiple of `alignment`.
    ///
    /// Null also when `alignment` is not a power of two.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_malloc_aligned_at(size: usize, alignment: usize, offset: usize) -> *mut c_void;

    /// [`mi_malloc_aligned`] with the block zeroed.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_zalloc_aligned(size: usize, alignment: usize) -> *mut c_void;

    /// [`mi_malloc_aligned_at`] with the block zeroed.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_zalloc_aligned_at(size: usize, alignment: usize, offset: usize) -> *mut c_void;

    /// [`mi_zalloc_aligned`] for `count` elements of `size` bytes; null also when the product
    /// overflows.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_calloc_aligned(count: usize, size: usize, alignment: usize) -> *mut c_void;

    /// [`mi_zalloc_aligned_at`] for `count` elements of `size` bytes; null also when the product
    /// overflows.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_calloc_aligned_at(
        count: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// [`mi_realloc`] whose result is a multiple of `alignment`, whatever `p` was aligned to.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`].
    pub fn mi_realloc_aligned(p: *mut c_void, newsize: usize, alignment: usize) -> *mut c_void;

    /// [`mi_realloc`] with a result `q` such that `q + offset` is a multiple of `alignment`.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`].
    pub fn mi_realloc_aligned_at(
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
}
