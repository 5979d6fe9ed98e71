//! The Rust workloads with mimalloc 3: two digits for each part of the release.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

programs::main_with_mi_version!(30_000..);
