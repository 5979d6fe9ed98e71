# Cases of the C tests that secure builds do not pass, by level, and why. All others hold at every level.
# Included by CMakeLists.txt; each case that is named must exist (see check.h).

# not_with(<level> <program> <case>...) : from this level on
function(not_with level program)
  if(MI_SECURE GREATER_EQUAL level AND TEST ${program})
    get_test_property(${program} ENVIRONMENT environment)
    if(NOT environment)
      set(environment "CTEST_EXCEPT=")
    elseif(NOT environment MATCHES "CTEST_EXCEPT=")
      string(APPEND environment ";CTEST_EXCEPT=")
    endif()
    string(REPLACE ";" "," except "${ARGN}")
    set_tests_properties(${program} PROPERTIES ENVIRONMENT "${environment}${except},")
  endif()
endfunction()

# Block-state tables, random addresses and guards take memory and addresses of their own.
not_with(1 metadata metadata_of_16_byte_blocks metadata_of_64_byte_blocks metadata_of_256_byte_blocks
  metadata_of_1024_byte_blocks metadata_of_8192_byte_blocks metadata_of_mixed_blocks)
not_with(1 small_machine addresses_of_64_mib)
not_with(1 oom library_starts_and_works_under_a_limit)
not_with(1 block_overhead resident_memory_agrees_with_usable_sizes)
not_with(1 under_as_allocation free_keeps_errno_for_all_sizes)
not_with(1 under_as_sizes foreign_addresses_are_recognised)
not_with(1 under_data_allocation free_keeps_errno_for_all_sizes)
not_with(1 under_data_sizes foreign_addresses_are_recognised
  usable_size_is_good_size_around_each_class_boundary)

# Freed large blocks are inaccessible and give their memory back; huge pages end at guards.
not_with(2 large_blocks buffers_replaced_in_a_loop_do_not_fault_each_time)
not_with(2 huge_page_advice small_blocks_of_a_large_program_are_advised
  purge_leaves_mostly_used_regions_whole)

# Statistics count blocks with their canary, and the usable size is without it.
not_with(3 stats_figures own_live_bytes_are_exact_at_any_time reset_starts_totals_and_peaks_anew
  figures_of_a_heap_are_of_its_blocks blocks_of_a_destroyed_heap_are_gone)
not_with(3 large_block_records resized_blocks_are_counted_as_they_are)
not_with(3 block_overhead resident_memory_above_64_kib_is_the_request_in_os_pages)
not_with(3 arena_heaps exclusive_arena_is_for_its_heaps_alone)

# Freed blocks are in quarantine: they count as live meanwhile, and their pages are not empty.
not_with(3 stats_figures live_bytes_freed_by_other_threads_return_to_zero
  live_bytes_of_ended_threads_return_to_zero live_bytes_of_threads_without_a_heap_return_to_zero
  pages_of_ended_threads_are_abandoned_until_they_are_empty)
not_with(3 abandoned_pages full_pages_need_no_help_of_their_thread
  child_counts_memory_that_other_threads_left pages_that_changed_their_class_are_not_mistaken
  pages_that_a_thread_only_reclaimed_are_abandoned)
not_with(3 large_block_records slices_of_a_shrunk_block_are_freed_once)
not_with(3 raw_clone one_that_ends_without_a_word_leaves_valid_blocks
  one_without_storage_is_its_caller_that_waits)
