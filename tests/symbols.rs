//! Every function of the bindings is there when a program is linked.
#![cfg(feature = "extended")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mimalloc2_rust_sys::*;

macro_rules! functions {
    ($($name:ident)*) => {
        [$((stringify!($name), $name as *const ()),)*]
    };
}

fn all() -> Vec<(&'static str, *const ())> {
    functions! {
        mi__expand
        mi_abandoned_visit_blocks
        mi_aligned_alloc
        mi_aligned_offset_recalloc
        mi_aligned_recalloc
        mi_any_heap_contains
        mi_arena_area
        mi_arena_contains
        mi_arena_min_alignment
        mi_arena_min_size
        mi_arenas_print
        mi_calloc
        mi_calloc_aligned
        mi_calloc_aligned_at
        mi_cfree
        mi_check_owned
        mi_collect
        mi_collect_reduce
        mi_debug_show_arenas
        mi_dupenv_s
        mi_expand
        mi_free
        mi_free_aligned
        mi_free_size
        mi_free_size_aligned
        mi_free_small
        mi_good_size
        mi_heap_alloc_new
        mi_heap_alloc_new_n
        mi_heap_calloc
        mi_heap_calloc_aligned
        mi_heap_calloc_aligned_at
        mi_heap_check_owned
        mi_heap_collect
        mi_heap_contains
        mi_heap_contains_block
        mi_heap_delete
        mi_heap_destroy
        mi_heap_get_backing
        mi_heap_get_default
        mi_heap_main
        mi_heap_malloc
        mi_heap_malloc_aligned
        mi_heap_malloc_aligned_at
        mi_heap_malloc_small
        mi_heap_mallocn
        mi_heap_new
        mi_heap_new_ex
        mi_heap_new_in_arena
        mi_heap_of
        mi_heap_realloc
        mi_heap_realloc_aligned
        mi_heap_realloc_aligned_at
        mi_heap_reallocf
        mi_heap_reallocn
        mi_heap_realpath
        mi_heap_recalloc
        mi_heap_recalloc_aligned
        mi_heap_recalloc_aligned_at
        mi_heap_rezalloc
        mi_heap_rezalloc_aligned
        mi_heap_rezalloc_aligned_at
        mi_heap_set_default
        mi_heap_set_numa_affinity

        mi_heap_set_limit
        mi_limit_set
        mi_limit_used
        mi_register_limit

        mi_heap_stats_get
        mi_heap_stats_get_json
        mi_heap_stats_print_out
        mi_heap_strdup
        mi_heap_strndup
        mi_heap_visit_abandoned_blocks
        mi_heap_visit_blocks
        mi_heap_zalloc
        mi_heap_zalloc_aligned
        mi_heap_zalloc_aligned_at
        mi_heap_zalloc_small
        mi_is_in_heap_region
        mi_is_redirected
        mi_malloc
        mi_malloc_align8
        mi_malloc_aligned
        mi_malloc_aligned_at
        mi_malloc_good_size
        mi_malloc_size
        mi_malloc_small
        mi_malloc_usable_size
        mi_mallocn
        mi_manage_os_memory
        mi_manage_os_memory_ex
        mi_mbsdup
        mi_memalign
        mi_new
        mi_new_aligned
        mi_new_aligned_nothrow
        mi_new_n
        mi_new_nothrow
        mi_new_realloc
        mi_new_reallocn
        mi_option_disable
        mi_option_enable
        mi_option_get
        mi_option_get_clamp
        mi_option_get_size
        mi_option_is_enabled
        mi_option_set
        mi_option_set_default
        mi_option_set_enabled
        mi_option_set_enabled_default
        mi_options_print
        mi_options_print_out
        mi_posix_memalign
        mi_process_done
        mi_process_info
        mi_process_info_print
        mi_process_info_print_out
        mi_process_init
        mi_pvalloc
        mi_realloc
        mi_realloc_align8
        mi_realloc_aligned
        mi_realloc_aligned_at
        mi_reallocarr
        mi_reallocarray
        mi_reallocf
        mi_reallocn
        mi_realpath
        mi_recalloc
        mi_recalloc_aligned
        mi_recalloc_aligned_at
        mi_register_deferred_free
        mi_register_error
        mi_register_output
        mi_release
        mi_release_text
        mi_reserve_huge_os_pages
        mi_reserve_huge_os_pages_at
        mi_reserve_huge_os_pages_at_ex
        mi_reserve_huge_os_pages_interleave
        mi_reserve_os_memory
        mi_reserve_os_memory_ex
        mi_rezalloc
        mi_rezalloc_aligned
        mi_rezalloc_aligned_at
        mi_stats_as_json
        mi_stats_get
        mi_stats_get_bin_size
        mi_stats_get_json
        mi_stats_merge
        mi_stats_print
        mi_stats_print_out
        mi_stats_reset
        mi_strdup
        mi_strndup
        mi_thread_done
        mi_thread_idle
        mi_thread_init
        mi_thread_set_in_threadpool
        mi_thread_stats_print_out
        mi_ucalloc
        mi_ufree
        mi_umalloc
        mi_umalloc_aligned
        mi_umalloc_small
        mi_unsafe_heap_page_is_under_utilized
        mi_urealloc
        mi_usable_size
        mi_uzalloc_aligned
        mi_uzalloc_small
        mi_valloc
        mi_version
        mi_wcsdup
        mi_wdupenv_s
        mi_zalloc
        mi_zalloc_align8
        mi_zalloc_aligned
        mi_zalloc_aligned_at
        mi_zalloc_small
    }
    .to_vec()
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names after `pub fn` in the `extern` blocks of our sources, which are indented.
fn declared() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut text = read(src.join("lib.rs"));
    for entry in fs::read_dir(src.join("extended")).expect("our own folder") {
        text += &read(entry.expect("an entry").path());
    }
    let name_in = |line: &str| {
        let rest = line.strip_prefix("    pub fn mi_")?;
        Some(format!("mi_{}", rest.split('(').next()?))
    };
    text.lines().filter_map(name_in).collect()
}

#[test]
fn every_function_is_linked() {
    let all = all();
    assert!(all.iter().all(|(_, address)| !address.is_null()));
    let names: BTreeSet<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names, declared(), "this list, and what the sources declare");
}

#[test]
fn every_function_of_2_1_7_is_among_them() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/checks/bindings/functions-2.1.7.txt");
    let declared = declared();
    let mut count = 0;
    for line in read(list).lines() {
        let name = line.split('\t').next().expect("a name");
        assert!(declared.contains(name), "{name}");
        count += 1;
    }
    assert_eq!(count, 133);
}
