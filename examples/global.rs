//! The least that a program has to do: `cargo run --release --example global`.

use mimalloc2_rust_sys::MiMalloc;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

fn main() {
    let text = String::from("all memory of this program");
    // SAFETY: the pointer is that of a live block of the global allocator.
    let usable = unsafe { GLOBAL.usable_size(text.as_ptr()) };
    println!("{text} comes from mimalloc {}", GLOBAL.version());
    println!("a string of {} bytes lives in a block of {usable}", text.len());
}
