//! The Rust workloads with mimalloc 2.1.7.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

programs::main_with_mi_version!(217);
