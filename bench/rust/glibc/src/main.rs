//! The Rust workloads with malloc and free of the process: the C library's, or a preloaded one's.

use std::ffi::{c_char, c_int, c_void, CStr};

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

/// `Dl_info` of dlfcn.h.
#[repr(C)]
struct Info {
    file: *const c_char,
    base: *mut c_void,
    name: *const c_char,
    address: *mut c_void,
}

extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dladdr(address: *const c_void, info: *mut Info) -> c_int;
}

/// The runner says which library it preloaded; none means the C library.
fn check() -> Result<(), String> {
    let mut info = Info {
        file: std::ptr::null(),
        base: std::ptr::null_mut(),
        name: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    // SAFETY: null is RTLD_DEFAULT, the name ends in a zero byte, and `info` has the C layout.
    let found = unsafe { dladdr(dlsym(std::ptr::null_mut(), c"malloc".as_ptr()), &mut info) };
    if found == 0 || info.file.is_null() {
        return Err("malloc has no address".to_owned());
    }
    // SAFETY: dladdr succeeded, so that this is a string which lives as long as the library.
    let file = unsafe { CStr::from_ptr(info.file) }.to_string_lossy();
    let right = match std::env::var("BENCH_LIBRARY") {
        Ok(expected) => file == expected.as_str(),
        Err(_) => file.contains("libc.so"),
    };
    if right {
        Ok(())
    } else {
        Err("malloc is not of the library that was asked for".to_owned())
    }
}

fn main() -> std::process::ExitCode {
    programs::main(check)
}
