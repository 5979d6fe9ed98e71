//! Empty on purpose: this package only makes Cargo build `libmimalloc-sys`.
//! The runner links its archive into a shared library.
#![no_std]
