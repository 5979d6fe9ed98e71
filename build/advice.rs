//! What to install where there is no C compiler for the target, or no C library.

use crate::Target;

/// A way to get a compiler: where, and the command or the package.
type Row = (&'static str, String);

/// For the reader of a failed build: the target, what is needed for it, and how to choose another.
pub(crate) fn install(target: &Target) -> String {
    let triple = &target.triple;
    let mut text = String::from("mimalloc2-rust-sys is written in C. ");
    if let Some(reason) = refusal(target) {
        return text + &reason;
    }
    text += &format!(
        "For the target {triple} it needs a C11 compiler and\n\
         the headers of the C library:\n\n"
    );
    let rows = if target.is_host() { host_rows() } else { cross_rows(target) };
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    for (place, what) in rows {
        text += &format!("  {place:<width$}   {what}\n");
    }
    let name = triple.replace('-', "_");
    text + &format!("\nAnother compiler is named by CC_{name}, its flags by CFLAGS_{name}.")
}

/// Targets that the C library cannot be compiled for.
fn refusal(target: &Target) -> Option<String> {
    let has_no_libc = target.is_wasm() && !matches!(target.os.as_str(), "wasi" | "emscripten");
    has_no_libc.then(|| {
        format!(
            "The target {} has no C library, and the\n\
             allocator needs one. Build for wasm32-wasip1 or wasm32-unknown-emscripten, or leave \
             the crate\nout there: [target.'cfg(not(target_family = \"wasm\"))'.dependencies]",
            target.triple
        )
    })
}

fn row(place: &'static str, what: &str) -> Row {
    (place, what.to_owned())
}

fn host_rows() -> Vec<Row> {
    vec![
        row("Debian, Ubuntu", "apt install gcc libc6-dev"),
        row("Fedora, RHEL", "dnf install gcc glibc-devel"),
        row("openSUSE", "zypper install gcc glibc-devel"),
        row("Arch", "pacman -S gcc"),
        row("Alpine", "apk add gcc musl-dev"),
        row("FreeBSD", "the base system has one"),
        row("macOS", "xcode-select --install"),
        row(
            "Windows (MSVC)",
            "Visual Studio Build Tools, workload \"Desktop development with C++\", component \
             \"C++ Clang\"",
        ),
        row("Windows (GNU)", "pacman -S mingw-w64-x86_64-gcc   (in an MSYS2 shell)"),
    ]
}

fn cross_rows(target: &Target) -> Vec<Row> {
    match (target.os.as_str(), target.env.as_str()) {
        ("linux", "gnu") => linux_gnu_rows(target),
        ("linux", "musl" | "ohos" | "uclibc") => linux_musl_rows(target),
        ("windows", "msvc") => vec![
            row("Windows", "Visual Studio Build Tools, with the tools for this processor"),
            row("elsewhere", "clang-cl and lld-link; the tool cargo-xwin fetches Microsoft's headers"),
        ],
        ("windows", _) => windows_gnu_rows(target),
        ("wasi", _) => wasi_rows(target),
        ("emscripten", _) => vec![
            row("Debian, Ubuntu", "apt install emscripten"),
            row("Arch", "pacman -S emscripten"),
            row("elsewhere", "the Emscripten SDK, with emcc in the PATH"),
        ],
        ("android", _) => vec![row(
            "everywhere",
            "the Android NDK: its clang for this target and API level; the tool cargo-ndk sets it up",
        )],
        ("macos" | "ios" | "tvos" | "watchos" | "visionos", _) => vec![
            row("macOS", "xcode-select --install, for other systems than macOS all of Xcode"),
            row("elsewhere", "clang with Apple's SDK, whose folder SDKROOT names"),
        ],
        _ => vec![row(
            "everywhere",
            "clang, which compiles for all systems, with --target=... and --sysroot=<a folder with \
             the system's headers> among its flags",
        )],
    }
}

/// Debian's names of the processor, in the compiler's package and in the C library's.
fn debian_names(target: &Target) -> Option<(&'static str, &'static str)> {
    let is_little = target.endian == "little";
    Some(match target.arch.as_str() {
        "x86_64" => ("x86-64-linux-gnu", "amd64"),
        "x86" => ("i686-linux-gnu", "i386"),
        "aarch64" if is_little => ("aarch64-linux-gnu", "arm64"),
        "arm" if target.triple.ends_with("eabihf") => ("arm-linux-gnueabihf", "armhf"),
        "arm" => ("arm-linux-gnueabi", "armel"),
        "riscv64" => ("riscv64-linux-gnu", "riscv64"),
        "s390x" => ("s390x-linux-gnu", "s390x"),
        "powerpc64" if is_little => ("powerpc64le-linux-gnu", "ppc64el"),
        "powerpc64" => ("powerpc64-linux-gnu", "ppc64"),
        "powerpc" => ("powerpc-linux-gnu", "powerpc"),
        "loongarch64" => ("loongarch64-linux-gnu", "loong64"),
        "sparc64" => ("sparc64-linux-gnu", "sparc64"),
        "mips64" if is_little => ("mips64el-linux-gnuabi64", "mips64el"),
        "mips" if is_little => ("mipsel-linux-gnu", "mipsel"),
        _ => return None,
    })
}

fn linux_gnu_rows(target: &Target) -> Vec<Row> {
    let mut rows = Vec::new();
    let is_x86_on_x86 = target.arch == "x86" && target.host.starts_with("x86_64");
    if is_x86_on_x86 {
        rows.push(row("Debian, Ubuntu", "apt install gcc-multilib"));
        rows.push(row("Fedora, RHEL", "dnf install gcc glibc-devel.i686 libgcc.i686"));
        rows.push(row("Arch", "pacman -S lib32-glibc lib32-gcc-libs   (repository multilib)"));
    } else if let Some((compiler, libc)) = debian_names(target) {
        rows.push(("Debian, Ubuntu", format!("apt install gcc-{compiler} libc6-dev-{libc}-cross")));
    }
    match target.arch.as_str() {
        "aarch64" | "riscv64" => {
            rows.push(("Arch", format!("pacman -S {}-linux-gnu-gcc", target.arch)));
        }
        _ => {}
    }
    if !is_x86_on_x86 {
        // Their cross compilers are for kernels and come without a C library.
        rows.push(row(
            "elsewhere",
            "a compiler with a C library; the tool cross has them in containers",
        ));
    }
    rows
}

fn linux_musl_rows(target: &Target) -> Vec<Row> {
    let is_same_processor = target.host.split('-').next() == target.triple.split('-').next();
    if is_same_processor && target.env == "musl" {
        return vec![
            row("Debian, Ubuntu", "apt install musl-tools"),
            row("Fedora", "dnf install musl-gcc"),
            row("Arch", "pacman -S musl"),
        ];
    }
    vec![row("everywhere", "a cross compiler made by musl-cross-make, or `zig cc`")]
}

fn windows_gnu_rows(target: &Target) -> Vec<Row> {
    let (debian, fedora) = match target.arch.as_str() {
        "x86_64" => ("x86-64", "mingw64"),
        "x86" => ("i686", "mingw32"),
        _ => return vec![row("everywhere", "llvm-mingw, with its bin folder in the PATH")],
    };
    vec![
        ("Debian, Ubuntu", format!("apt install gcc-mingw-w64-{debian}")),
        ("Fedora", format!("dnf install {fedora}-gcc")),
        row("Arch", "pacman -S mingw-w64-gcc"),
    ]
}

fn wasi_rows(target: &Target) -> Vec<Row> {
    let name = target.triple.replace('-', "_");
    vec![
        ("everywhere", "wasi-sdk, whose folder WASI_SDK_PATH names".to_owned()),
        (
            "Debian, Ubuntu",
            format!("apt install clang llvm wasi-libc, then CFLAGS_{name}=--target=wasm32-wasi"),
        ),
        row("Arch", "pacman -S clang llvm wasi-libc, then WASI_SYSROOT=/usr/share/wasi-sysroot"),
    ]
}
