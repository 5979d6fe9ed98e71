//! The rest of the C interface: arrays, heaps, arenas, options, statistics, callbacks, and the names
//! of POSIX, Microsoft and C++.
//!
//! Everything here is re-exported at the root of the crate; the rules at the top of the [crate] hold
//! here too.

mod alloc;
mod arena;
mod cxx;
mod heap;
pub(crate) mod options;
mod posix;
mod process;
mod stats;

pub use alloc::*;
pub use arena::*;
pub use cxx::*;
pub use heap::*;
pub use options::*;
pub use posix::*;
pub use process::*;
pub use stats::*;
