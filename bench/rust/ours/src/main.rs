//! The Rust workloads with this project as the global allocator.

#[global_allocator]
static GLOBAL: mimalloc2_rust_sys::MiMalloc = mimalloc2_rust_sys::MiMalloc;

programs::main_with_mi_version!(217);
