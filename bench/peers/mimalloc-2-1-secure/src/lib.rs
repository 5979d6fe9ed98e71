//! Empty on purpose: this package only makes Cargo build `libmimalloc-sys`.
//! The runner links the archive which that leaves behind into a shared library.
#![no_std]
