#!/usr/bin/env bash
# The steps of our checks. Run any of them by hand:   ci/steps.sh NAME...   (no name: lists them)
#
# ci/run calls the same functions through run_steps, which times each step, keeps its output below
# target/ci/logs, and stops at the first one that fails. Everything that a step builds is below
# target/ci, so a second run only rebuilds what changed. Checks that are programs are in ci/checks.
#
# CTEST_SCALE (1 when not given) is handed to the C tests, which multiply their rounds by it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
work=$root/target/ci
jobs=$(nproc)
export PATH="$PATH:$HOME/.cargo/bin"
export CTEST_OUTPUT_ON_FAILURE=1

warnings=(-Wall -Wextra -Wpedantic -Wundef -Werror)

# --- what a machine needs -------------------------------------------------------------------------

packages=(git cmake make gcc g++ clang clang-format libclang-rt-14-dev llvm binutils
  libc++-dev libc++abi-dev pkg-config python3 sqlite3 nginx valgrind strace mandoc spin
  # other targets: what `ci/checks/cross --packages --quick` lists
  g++-mingw-w64-x86-64-posix gcc-aarch64-linux-gnu gcc-i686-linux-gnu gcc-mingw-w64-x86-64-posix
  libc6-dev-arm64-cross libc6-dev-i386-cross musl-tools qemu-user wine64)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE... : those that are missing
install_packages() {
  local missing=() package
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" != "ii " ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}"
    as_root apt-get update
    # RUNLEVEL=1 keeps the packages from starting their services.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install -y --no-install-recommends "${missing[@]}"
  fi
}

# Debian's packages and rustup's components. Asks no questions and replaces nothing.
step_install() {
  install_packages "${packages[@]}"
  if ! command -v cargo >/dev/null; then
    echo "cargo is not installed. Debian 12's is older than this crate's rust-version; install Rust"
    echo "with rustup (the toolchain 'stable', with rustfmt and clippy) and run this again."
    return 1
  fi
  if command -v rustup >/dev/null; then
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
  fi
  cargo fmt --version
  cargo clippy --version
}

# --- reading the sources --------------------------------------------------------------------------

# The C and C++ files that are ours to format: those in git, and new ones that git does not ignore.
c_files() {
  git ls-files --cached --others --exclude-standard -- "$@" | grep -E '\.(c|h|cc|cpp|hpp)$' |
    while read -r file; do if [ -f "$file" ]; then echo "$file"; fi; done
}

step_format() {
  local files
  mapfile -t files < <(c_files c_src ctest fuzz bench ci tests)
  echo "clang-format: ${#files[@]} files"
  [ ${#files[@]} -gt 0 ]
  clang-format --dry-run -Werror "${files[@]}"
  cargo fmt --check
  cargo fmt --check --manifest-path bench/Cargo.toml
  cargo fmt --check --manifest-path ci/checks/bindings/Cargo.toml
  cargo fmt --check --all --manifest-path tests/fixtures/Cargo.toml
}

step_lint() {
  local deny=(-D warnings -D clippy::incompatible_msrv)
  cargo clippy --all-targets -- "${deny[@]}"
  cargo clippy --all-targets --all-features -- "${deny[@]}"
}

# Each source and each header compiles alone: it includes what it uses.
step_alone() {
  local compiler file
  # Functions of other rooms are not static then; not all that a room sees is used in it.
  local flags=(-std=c11 "${warnings[@]}" -fsyntax-only -Wno-unused -DINTERNAL= -Ic_src/include)
  [ -f c_src/src/all.c ]
  for compiler in gcc clang; do
    while read -r file; do
      "$compiler" "${flags[@]}" "$file" || { echo "$compiler: $file does not compile alone" && return 1; }
    done < <(find c_src/src -name '*.c' | sort)
    while read -r file; do
      # The type keeps a header of macros alone from being an empty translation unit.
      printf '#include "%s"\ntypedef int not_empty;\n' "$root/$file" |
        "$compiler" "${flags[@]}" -Wno-unused-function -x c - ||
        { echo "$compiler: $file does not compile alone" && return 1; }
    done < <(find c_src -name '*.h' | sort)
  done
}

step_layers() { ci/checks/layers; }

# The model of the protocol of page.h.
step_model() { ci/checks/model; }

# The library's own code in every order in which a few threads can meet, within bounds.
step_interleave() { ci/checks/interleave; }

# Each memory order of the C code, one at a time made weaker: an interleaving fails.
step_orders() { ci/checks/orders; }

# --- building and testing the C half --------------------------------------------------------------

# cmake_build FOLDER SOURCE OPTION...
cmake_build() {
  local build=$work/$1 source=$2
  shift 2
  cmake -S "$source" -B "$build" "$@"
  cmake --build "$build" --parallel "$jobs"
}

step_build() {
  cmake_build gcc c_src -DCMAKE_C_COMPILER=gcc -DMI_WERROR=ON
  cmake_build clang c_src -DCMAKE_C_COMPILER=clang -DMI_WERROR=ON
  cmake_build gcc-debug c_src -DCMAKE_C_COMPILER=gcc -DMI_WERROR=ON -DMI_DEBUG_FULL=ON
}

# test_programs FOLDER 'PROGRAM...' OPTION... : builds these of the C tests
test_programs() {
  local build=$work/$1 programs
  read -r -a programs <<<"$2"
  shift 2
  cmake -S ctest -B "$build" -DMI_WERROR=ON "$@"
  cmake --build "$build" --parallel "$jobs" --target "${programs[@]}"
}

clang=(-DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++)
asan=("${clang[@]}" "-DMI_SANITIZE=address,undefined")
tsan=("${clang[@]}" -DMI_SANITIZE=thread)

# A sanitizer's finding ends the program with a status that no test takes for success: without
# halt_on_error the undefined-behaviour sanitizer only prints.
export ASAN_OPTIONS=halt_on_error=1:exitcode=99:detect_leaks=1
export UBSAN_OPTIONS=halt_on_error=1:exitcode=99:print_stacktrace=1
# A process that ends while others run is held for 50 ms, not a second: races at the end show, and tests end.
export TSAN_OPTIONS=halt_on_error=1:exitcode=99:second_deadlock_stack=1:atexit_sleep_ms=50

# The thread sanitizer of clang 14 needs the addresses that it expects; new kernels randomize more
# of them. Elsewhere the tests keep random addresses, which find more.
tsan_start=()
if setarch -R true 2>/dev/null; then tsan_start=(setarch -R); fi

# c_tests FOLDER OPTION... : builds the C tests and runs them all.
# C_TEST=NAME runs the test of that name only, and builds only its program if it is one; several names
# stand between |.
c_tests() {
  local folder=$1
  shift
  local build=$work/$folder
  local scale=${CTEST_SCALE:-1}
  scale=${scale%%.*}
  # One more than there are processors: some tests wait.
  local run=(--parallel "$((jobs + 1))" --no-tests=error --output-on-failure
    --timeout $((600 * (scale > 1 ? scale : 1))))
  local targets=() start=()
  if [ -n "${C_TEST:-}" ]; then
    run+=(--tests-regex "^($C_TEST)\$")
  fi
  if [[ $* == *MI_SANITIZE=thread* ]]; then start=("${tsan_start[@]}"); fi
  cmake -S ctest -B "$build" -DMI_WERROR=ON "$@"
  local name known
  known=$(cmake --build "$build" --target help)
  for name in $(tr '|' ' ' <<<"${C_TEST:-}"); do
    if grep -Fqx "... $name" <<<"$known"; then targets+=(--target "$name"); fi
  done
  cmake --build "$build" --parallel "$jobs" "${targets[@]}"
  "${start[@]}" ctest --test-dir "$build" "${run[@]}"
}

step_ctest_release() { c_tests ctest-release; }
# The names that the libraries export; no test program is built for it.
step_exports() {
  local build=$work/ctest-release
  cmake -S ctest -B "$build" -DMI_WERROR=ON
  cmake --build "$build" --parallel "$jobs" --target mimalloc mimalloc-static mimalloc-obj
  ctest --test-dir "$build" --tests-regex '^exports$' --no-tests=error --output-on-failure
}
step_ctest_debug() { c_tests ctest-debug -DMI_DEBUG_FULL=ON; }
step_ctest_asan() { c_tests ctest-asan "${asan[@]}"; }
step_ctest_tsan() { c_tests ctest-tsan "${tsan[@]}"; }

# secure_levels LEVEL...
secure_levels() {
  local level
  for level in "$@"; do c_tests "ctest-secure-$level" -DMI_SECURE="$level"; done
}

# What secure builds promise, level by level, also of keys and of freed memory, and that zeroed memory is
# zero there too; the attacks are a step of their own. Level 4 takes as long as the others together, and most
# of it is one program.
step_secure() {
  export C_TEST='secure|secure_keys|freed_memory|zeroed_memory'
  secure_levels 4 &
  secure_levels 1 2 3
  wait $!
}

# All C tests in secure builds, but for the cases that ctest/secure.cmake names.
step_ctest_secure() { secure_levels 1 2 3 4; }

step_preload() { ci/checks/preload; }

# --- other targets --------------------------------------------------------------------------------

# Musl, Arm, Windows and 32 bits: the library, and four programs that run in emulators. Then the scan
# of what is shipped for instructions that older processors do not have.
step_cross_quick() {
  ci/checks/cross --quick
  step_baseline
}
step_baseline() {
  cmake_build baseline c_src -DMI_BUILD_STATIC=OFF -DMI_BUILD_SHARED=OFF
  ci/checks/baseline x86-64 "$work"/baseline/CMakeFiles/mimalloc-obj.dir/src/all.c.o
}

# --- the Rust half --------------------------------------------------------------------------------

# Packs the crate and builds what was packed, in a checkout that may have changes.
step_package() {
  if [ -z "$(git status --porcelain)" ]; then
    cargo package
  else
    cargo package --allow-dirty
  fi
}

step_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features; }

# The bindings against the headers and the list of 2.1.7.
step_bindings() {
  cargo run --quiet --manifest-path ci/checks/bindings/Cargo.toml \
    --target-dir "${BINDINGS_TARGET:-$work/bindings}"
}

# Programs and crates of others change to ours with one line.
step_switch() { ci/checks/switch; }

# Ours has not become slower: instructions, system calls and page faults against bench/bounds.toml.
guard() {
  cargo run --release --quiet --manifest-path bench/Cargo.toml --target-dir "$work/bench" -- \
    guard "$@"
}
step_guard() { guard; }

# --- the longer ones, for ci/run full -----------------------------------------------------------------

# Minutes of random work in eight threads, and less of it in a secure build.
step_stress_tsan() {
  test_programs ctest-tsan stress "${tsan[@]}"
  "${tsan_start[@]}" "$work/ctest-tsan/stress" 8 1000000
  test_programs ctest-tsan-secure stress -DMI_SECURE=4 "${tsan[@]}"
  "${tsan_start[@]}" "$work/ctest-tsan-secure/stress" 8 100000
}

# STRESS_SECONDS (1800 if not given) in 4 to 64 threads, with assertions and the heap walker.
step_stress_long() {
  test_programs ctest-debug stress -DMI_DEBUG_FULL=ON
  local start=$SECONDS limit=${STRESS_SECONDS:-1800} runs=0 threads
  while [ $((SECONDS - start)) -lt "$limit" ]; do
    for threads in 4 8 16 32 64; do
      "$work/ctest-debug/stress" "$threads" 20000
      runs=$((runs + 1))
    done
  done
  echo "stress: $runs runs in $((SECONDS - start)) seconds, none failed"
}

# A server of 10^9 operations whose memory after each phase must not grow.
step_long_run() {
  test_programs ctest-release long_run
  "$work/ctest-release/long_run" 19 16
}

# The program forks 300 times from a busy process, times CTEST_SCALE.
step_forks() {
  test_programs ctest-release fork
  CTEST_SCALE=34 "$work/ctest-release/fork"
}

# FUZZ_SECONDS for each of the fuzz targets (1200 if not given); writes docs/runs/DATE-fuzz.txt.
step_fuzz() { fuzz/run; }

# The process ends in five ways while threads allocate, 1,000 times each; the library is opened and
# closed 1,000 times and 10,000 threads come and go, as in every run of the C tests.
step_ends() {
  test_programs ctest-release 'thread_exit remote_free unload'
  local way
  for way in exit immediate_exit quick_exit return_from_main end_of_the_main_thread; do
    echo "$way while others allocate"
    CTEST_SCALE=50 "$work/ctest-release/thread_exit" "${way}_while_others_allocate"
  done
  "$work/ctest-release/thread_exit" ten_thousand_threads_in_waves_leave_memory_flat
  "$work/ctest-release/remote_free" ten_thousand_threads_leave_memory_flat
  TEST_LIBRARY=$work/ctest-release/lib/libmimalloc.so.2 "$work/ctest-release/unload"
}

# Of each kind of system call the n-th fails, n up to 408.
step_faults() {
  test_programs ctest-release failing_calls_by_kind
  CTEST_SCALE=34 "$work/ctest-release/failing_calls_by_kind"
}

# All test programs under limits of address space and of writable memory.
step_limits() {
  test_programs ctest-limits under_limits -DMI_TEST_LIMITS=ON
  ctest --test-dir "$work/ctest-limits" --label-regex limits --parallel "$jobs" --no-tests=error \
    --output-on-failure
}

# Each fault of the catalogue can still be planted.
step_catalogue() { ci/faults --check; }

# Each gate fails on the faults that are planted for it. Those of the C tests, the interleavings and the
# attacks are steps of their own.
step_planted_faults() {
  install_cross # some are planted for these targets
  ci/faults
}
step_fuzz_faults() { ci/faults fuzz; }

# The same with wider bounds, with the assertions, and by the other compiler; then its planted faults.
step_interleave_full() {
  ci/checks/interleave --full
  ci/checks/interleave --debug
  CC=clang ci/checks/interleave
  ci/checks/orders --full
  ci/checks/model --full
}
step_interleave_faults() { ci/faults interleave; }

# Every target that Debian has a compiler and an emulator for.
step_cross() {
  install_cross
  ci/checks/cross
}
install_cross() {
  local cross
  mapfile -d ' ' -t cross < <(ci/checks/cross --packages | tr -d '\n')
  install_packages "${cross[@]}"
}

# cargo check for every target whose standard library is installed or available; then a program with
# the flags of distributions and testers.
step_targets() { ci/checks/targets; }

# A Rust program under sanitizers, Valgrind and Miri.
step_checkers() { ci/checks/checkers; }

# Every Cargo feature and every pair of them.
step_features() { ci/checks/features; }

# The whole product of attacks against all levels and the hardened peers; writes ctest/attacks/results.
step_attacks() {
  local peers=mi217-secure,mi2-secure,mi3-secure,snmalloc-check,hardened,scudo
  ctest/attacks/run --self-test --quick
  cargo run --release --quiet --manifest-path bench/Cargo.toml --target-dir "$work/bench" -- \
    build --allocators "$peers"
  ctest/attacks/run --report --check
  # Once more where guards are mappings of their own, as they were before Linux 6.13.
  local level
  for level in 1 2 3 4; do ctest/attacks/run --level "$level" --check --without-guards; done
}

# A hundred planted faults; nine of ten must be caught.
step_mutants() { ci/faults tests; }

# The race also writes bench/report.
step_bench() {
  install_packages valgrind strace libtcmalloc-minimal4 ruby php-cli lua5.4 perl jq xsltproc z3 \
    ghostscript
  local bench=(cargo run --release --manifest-path bench/Cargo.toml --)
  "${bench[@]}" build
  "${bench[@]}" report --rounds 5
}

# --- running them ---------------------------------------------------------------------------------

# A line for each step; the steps of several lanes write to it.
step_times=$work/logs/times-$$

print_times() {
  printf '\n%-16s %8s  %s\n' step seconds result
  cat "$step_times"
  rm -f "$step_times" "$step_times.failed"
}

# measurements NAME LOG : what is shown of a step that passed
measurements() {
  case $1 in
  preload | layers | model | *_faults | catalogue | interleave* | orders | bindings | guard | switch | features | mutants | \
    bench | stress_tsan | long_run | forks | fuzz | ends | faults | attacks | \
    cross_quick | cross | targets | checkers)
    cat "$2"
    ;;
  ctest_* | limits) grep -E 'tests passed|tests failed' "$2" || true ;;
  esac
}

# run_step NAME : ends the shell after a failure
run_step() {
  local name=$1 log=$work/logs/$1.log began=$SECONDS status=0 result=ok
  printf '== %s\n' "$name"
  # A shell of its own: inside `if` or `||` here, bash would ignore `set -e` in the step.
  bash "$root/ci/steps.sh" "$name" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || result="FAILED ($status)"
  printf '%-16s %8d  %s\n' "$name" $((SECONDS - began)) "$result" >>"$step_times"
  if [ "$status" -ne 0 ]; then
    printf '%s\n' "$name" >>"$step_times.failed"
    exit 1
  fi
  # In one piece: another lane may print, too.
  printf '%s\n' "$(printf -- '-- %s: ok\n' "$name" && measurements "$name" "$log")"
}

# Stops everything and shows the end of the log of the step that failed first, and the table.
report_failure() {
  local name log
  stop_lanes
  name=$(head -n 1 "$step_times.failed")
  log=$work/logs/$name.log
  tail -n 60 "$log"
  print_times
  printf '\n%s failed; all of its output is in %s\n' "$name" "${log#"$root"/}"
  printf 'By hand: ci/steps.sh %s\n' "$name"
  exit 1
}

lanes=() # the process of each that runs
stop_lanes() {
  local lane
  for lane in "${lanes[@]}"; do kill -- "-$lane" 2>/dev/null || true; done
}
trap stop_lanes EXIT

# run_lanes 'NAME...'... : the steps of a lane one after the other, the lanes at the same time; stops at the
# first failure
run_lanes() {
  local lane name ended
  mkdir -p "$work/logs"
  # Each lane is a group of processes, so that what runs in it can be ended.
  set -m
  for lane in "$@"; do
    (for name in $lane; do run_step "$name"; done) </dev/null &
    lanes+=($!)
  done
  set +m
  while [ ${#lanes[@]} -gt 0 ]; do
    wait -n -p ended "${lanes[@]}" || report_failure
    for lane in "${!lanes[@]}"; do
      if [ "${lanes[lane]}" = "$ended" ]; then unset "lanes[lane]"; fi
    done
  done
}

# run_steps NAME... : one after the other
run_steps() { run_lanes "$*"; }

list_steps() { declare -F | sed -n 's/^declare -f step_//p'; }

check_steps() {
  local name
  for name in "$@"; do
    declare -F "step_$name" >/dev/null || { echo "no such step: $name (ci/run --list)" >&2 && exit 2; }
  done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  if [ $# -eq 0 ]; then
    list_steps
    exit 0
  fi
  check_steps "$@"
  for name in "$@"; do "step_$name"; done
fi
