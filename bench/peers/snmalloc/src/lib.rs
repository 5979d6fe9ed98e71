//! Empty on purpose: this package only makes Cargo build `snmalloc-sys`.
//! The runner links its archive into a shared library.
#![no_std]
