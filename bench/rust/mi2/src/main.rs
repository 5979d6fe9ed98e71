//! The Rust workloads with mimalloc 2: two digits for each part of the release since 2.3.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

programs::main_with_mi_version!(20_000..=29_999);
