//! Options: their numbers, the ways to set them, and the environment.
//!
//! Options belong to the process, so this is a test program of its own, and its tests use different
//! options: they run at the same time.
#![cfg(feature = "extended")]

use std::env;
use std::ffi::{c_int, c_long};
use std::process::Command;

use mimalloc2_rust_sys::*;

fn get(option: mi_option_t) -> c_long {
    unsafe { mi_option_get(option) }
}

/// Any number is a value of these, and no allocation depends on them.
const HARMLESS: [mi_option_t; 3] = [
    mi_option_deprecated_segment_cache,
    mi_option_deprecated_segment_reset,
    mi_option_guarded_sample_seed,
];

#[test]
fn numbers_follow_the_interface() {
    let in_order = [
        mi_option_show_errors,
        mi_option_show_stats,
        mi_option_verbose,
        mi_option_eager_commit,
        mi_option_arena_eager_commit,
        mi_option_purge_decommits,
        mi_option_allow_large_os_pages,
        mi_option_reserve_huge_os_pages,
        mi_option_reserve_huge_os_pages_at,
        mi_option_reserve_os_memory,
        mi_option_deprecated_segment_cache,
        mi_option_deprecated_page_reset,
        mi_option_abandoned_page_purge,
        mi_option_deprecated_segment_reset,
        mi_option_eager_commit_delay,
        mi_option_purge_delay,
        mi_option_use_numa_nodes,
        mi_option_disallow_os_alloc,
        mi_option_os_tag,
        mi_option_max_errors,
        mi_option_max_warnings,
        mi_option_max_segment_reclaim,
        mi_option_destroy_on_exit,
        mi_option_arena_reserve,
        mi_option_arena_purge_mult,
        mi_option_purge_extend_delay,
        mi_option_abandoned_reclaim_on_free,
        mi_option_disallow_arena_alloc,
        mi_option_retry_on_oom,
        mi_option_visit_abandoned,
        mi_option_guarded_min,
        mi_option_guarded_max,
        mi_option_guarded_precise,
        mi_option_guarded_sample_rate,
        mi_option_guarded_sample_seed,
        mi_option_target_segments_per_thread,
        mi_option_generic_collect,
        mi_option_allow_thp,
        mi_option_page_reclaim_on_free,
        mi_option_page_full_retain,
        mi_option_page_max_candidates,
        mi_option_max_vabits,
        mi_option_pagemap_commit,
        mi_option_page_commit_on_demand,
        mi_option_page_max_reclaim,
        mi_option_page_cross_thread_max_reclaim,
        mi_option_minimal_purge_size,
        mi_option_arena_max_object_size,
        mi_option_arena_is_numa_local,
        mi_option_limit_hard,
        mi_option_limit_soft,
        mi_option_limit_container,
        _mi_option_last,
    ];
    assert!(in_order.iter().copied().eq(0..=52));
    assert_eq!(mi_option_retry_on_oom, 28, "the last of 2.1.7");
    assert_eq!(mi_option_allow_thp, 37, "the last of 2.4.1");
    assert_eq!(mi_option_large_os_pages, mi_option_allow_large_os_pages);
    assert_eq!(mi_option_eager_region_commit, mi_option_arena_eager_commit);
    assert_eq!(mi_option_reset_decommits, mi_option_purge_decommits);
    assert_eq!(mi_option_reset_delay, mi_option_purge_delay);
    assert_eq!(mi_option_abandoned_page_reset, mi_option_abandoned_page_purge);
    assert_eq!(mi_option_limit_os_alloc, mi_option_disallow_os_alloc);
}

#[test]
fn a_value_that_is_set_is_the_value_that_is_read() {
    for option in HARMLESS {
        let before = get(option);
        for value in [0, 1, -1, 12_345, c_long::from(c_int::MAX), c_long::from(c_int::MIN)] {
            unsafe { mi_option_set(option, value) };
            assert_eq!(get(option), value, "option {option}");
            assert_eq!(unsafe { mi_option_is_enabled(option) }, value != 0);
        }
        unsafe { mi_option_set(option, before) };
    }
}

#[test]
fn a_number_out_of_range_is_refused_or_moved_into_it() {
    unsafe {
        mi_option_set(mi_option_os_tag, 120);
        mi_option_set(mi_option_os_tag, 1000);
        assert_eq!(get(mi_option_os_tag), 120, "100 to 255");
        mi_option_set(mi_option_max_segment_reclaim, 1000);
        assert_eq!(get(mi_option_max_segment_reclaim), 100, "documented as clamped");
    }
}

#[test]
fn the_typed_options_are_the_numbers() {
    assert_eq!(MiOption::ALL.len(), usize::try_from(_mi_option_last).expect("a count"));
    for (number, option) in (0..).zip(MiOption::ALL) {
        assert_eq!(option.number(), number);
        assert_eq!(MiOption::try_from(number), Ok(*option));
        assert_eq!(mi_option_t::from(*option), number);
        assert_eq!(option.to_string(), option.name());
    }
    assert_eq!(MiOption::PurgeDelay.number(), mi_option_purge_delay);
    assert_eq!(MiOption::PurgeDelay.name(), "purge_delay");
    assert_eq!(MiOption::ArenaIsNumaLocal.number(), mi_option_arena_is_numa_local);
    for number in [-1, _mi_option_last, c_int::MAX, c_int::MIN] {
        assert_eq!(MiOption::try_from(number), Err(UnknownOption(number)));
    }
    assert_eq!(UnknownOption(99).to_string(), "there is no option of number 99");
}

/// The names are those of the environment: each option is set from there and read by its number.
#[test]
fn the_names_are_those_of_the_environment() {
    for option in
        [MiOption::GuardedSampleSeed, MiOption::GenericCollect, MiOption::MaxSegmentReclaim]
    {
        run_child(&[(&format!("MIMALLOC_{}", option.name().to_uppercase()), "77")]);
    }
}

#[test]
fn enabling_means_one_and_disabling_zero() {
    let option = mi_option_abandoned_page_purge;
    unsafe {
        mi_option_enable(option);
        assert_eq!(get(option), 1);
        mi_option_disable(option);
        assert_eq!(get(option), 0);
        mi_option_set_enabled(option, true);
        assert!(mi_option_is_enabled(option));
        mi_option_set_enabled(option, false);
        assert!(!mi_option_is_enabled(option));
    }
}

#[test]
fn a_default_does_not_replace_what_was_set() {
    let option = mi_option_purge_extend_delay;
    unsafe {
        mi_option_set_default(option, 17);
        assert_eq!(get(option), 17);
        mi_option_set_default(option, 18);
        assert_eq!(get(option), 18, "a default may be replaced by a default");
        mi_option_set(option, 19);
        mi_option_set_default(option, 20);
        assert_eq!(get(option), 19);
        mi_option_set_enabled_default(option, true);
        assert_eq!(get(option), 19);
    }
}

#[test]
fn clamp_limits_the_answer_and_not_the_option() {
    let option = mi_option_arena_purge_mult;
    unsafe {
        mi_option_set(option, 50);
        assert_eq!(mi_option_get_clamp(option, 0, 100), 50);
        assert_eq!(mi_option_get_clamp(option, 0, 10), 10);
        assert_eq!(mi_option_get_clamp(option, 70, 100), 70);
        assert_eq!(get(option), 50);
    }
}

#[test]
fn sizes_are_in_bytes_and_never_negative() {
    unsafe {
        let (counted_in_kib, plain) = (mi_option_reserve_os_memory, mi_option_max_warnings);
        mi_option_set(counted_in_kib, 3);
        assert_eq!(mi_option_get_size(counted_in_kib), 3 * 1024);
        mi_option_set(counted_in_kib, -3);
        assert_eq!(mi_option_get_size(counted_in_kib), 0);
        mi_option_set(counted_in_kib, 0);
        mi_option_set(plain, 33);
        assert_eq!(mi_option_get_size(plain), 33);
    }
}

#[test]
fn unknown_options_read_as_zero_and_cannot_be_set() {
    for option in [-1, _mi_option_last, 99, 1000, c_int::MAX, c_int::MIN] {
        unsafe {
            mi_option_set(option, 7);
            mi_option_set_default(option, 7);
            mi_option_enable(option);
            mi_option_set_enabled(option, true);
            mi_option_set_enabled_default(option, true);
            assert_eq!(get(option), 0, "option {option}");
            assert!(!mi_option_is_enabled(option));
            assert_eq!(mi_option_get_size(option), 0);
            mi_option_disable(option);
        }
    }
}

/// Runs `child_reads_the_environment` with these variables.
fn run_child(variables: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "child_reads_the_environment", "--ignored"])
        .envs(variables.iter().copied())
        .env("OPTIONS_TEST_CHILD", "1")
        .output()
        .expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn the_environment_sets_options() {
    run_child(&[("MIMALLOC_PURGE_DELAY", "77")]);
}

#[test]
#[ignore = "a part of the_environment_sets_options, which runs it in a process of its own"]
fn child_reads_the_environment() {
    if env::var_os("OPTIONS_TEST_CHILD").is_none() {
        return; // run by hand with --ignored
    }
    let is_given = |option: &&MiOption| {
        env::var_os(format!("MIMALLOC_{}", option.name().to_uppercase())).is_some()
    };
    let mut count = 0;
    for option in MiOption::ALL.iter().filter(is_given) {
        assert_eq!(get(option.number()), 77, "{option}");
        count += 1;
    }
    assert_eq!(count, 1, "one option is given");
    if env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        return;
    }
    unsafe {
        mi_option_set_default(mi_option_purge_delay, 78);
        assert_eq!(get(mi_option_purge_delay), 77, "the environment is stronger than a default");
        mi_option_set(mi_option_purge_delay, 79);
        assert_eq!(get(mi_option_purge_delay), 79, "the program is stronger than the environment");
    }
}

/// The reference in docs/guide.md and the documentation of the constants name the same options as
/// without effect.
#[test]
fn documents_agree_on_the_options_without_effect() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/guide.md")).expect("the reference");
    let source = std::fs::read_to_string(root.join("src/extended/options.rs")).expect("the source");
    for option in MiOption::ALL {
        let starts = |row: &str| guide.lines().any(|line| line.starts_with(row));
        let works = starts(&format!("| {} | `{}` |", option.number(), option.name()));
        let is_stored = starts(&format!("- {} `{}`: ", option.number(), option.name()));
        assert!(works != is_stored, "{option} stands in the guide once");
        let constant = format!("pub const mi_option_{}: mi_option_t", option.name());
        let (before, _) = source.split_once(&constant).expect("a constant");
        let (_, text) = before.rsplit_once(";\n").expect("its documentation");
        let has_none = text.trim_start().starts_with("/// Without effect");
        assert_eq!(has_none, is_stored, "{option}: {text}");
    }
}
