//! The Rust workloads with this project as the global allocator.

#[global_allocator]
static GLOBAL: mimalloc2_rust_sys::MiMalloc = mimalloc2_rust_sys::MiMalloc;

extern "C" {
    fn mi_version() -> std::ffi::c_int;
}

/// The interface says which release it is.
fn check() -> Result<(), String> {
    // SAFETY: takes nothing and only returns a constant.
    match unsafe { mi_version() } {
        217 => Ok(()),
        other => Err(format!("mi_version() is {other}")),
    }
}

fn main() -> std::process::ExitCode {
    programs::main(check)
}
