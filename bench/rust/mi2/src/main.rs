//! The Rust workloads with mimalloc 2.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

extern "C" {
    fn mi_version() -> std::ffi::c_int;
}

/// The interface says which release it is: two digits for each part since 2.3.
fn check() -> Result<(), String> {
    // SAFETY: takes nothing and only returns a constant.
    match unsafe { mi_version() } {
        20_000..=29_999 => Ok(()),
        other => Err(format!("mi_version() is {other}")),
    }
}

fn main() -> std::process::ExitCode {
    programs::main(check)
}
