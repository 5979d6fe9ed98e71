# The test programs under limits of the process: 512 MiB of address space, or 512 MiB of private
# writable memory, which is what strict overcommit (vm.overcommit_memory=2) counts for all processes
# together. That setting belongs to the whole machine, so it is simulated: the limit refuses the
# same requests, and arena_eager_commit=0 is what the library does under this setting.
#
# Included by CMakeLists.txt. A few programs belong to every run; all of them with -DMI_TEST_LIMITS=ON
# (step limits). Left out are cases that need more memory than the limit allows, and the whole
# program stats_while_others_work.
option(MI_TEST_LIMITS "All test programs under limits, not only a few" OFF)

test_program(run_limited system/run_limited.c)
add_custom_target(under_limits)
add_dependencies(under_limits run_limited large_blocks)

# limited_test(<kind> <program> [ALWAYS] EXCEPT <case>...)
function(limited_test kind program)
  cmake_parse_arguments(PARSE_ARGV 2 T "ALWAYS" "" "EXCEPT")
  if(NOT T_ALWAYS AND NOT MI_TEST_LIMITS)
    return()
  endif()
  add_dependencies(under_limits ${program})
  set(environment "")
  if(kind STREQUAL data)
    list(APPEND environment MIMALLOC_ARENA_EAGER_COMMIT=0)
  endif()
  if(T_EXCEPT)
    string(REPLACE ";" "," except "${T_EXCEPT}")
    list(APPEND environment "CTEST_EXCEPT=${except},")
  endif()
  add_test(NAME under_${kind}_${program} COMMAND run_limited ${kind}=512 $<TARGET_FILE:${program}>)
  set_tests_properties(under_${kind}_${program} PROPERTIES LABELS limits TIMEOUT 600
    ENVIRONMENT "${environment}")
endfunction()

# errno after a success is not promised: the library has made a request that failed before.
limited_test(as allocation ALWAYS EXCEPT reallocarray_sets_errno_on_failure_only)
limited_test(as sizes ALWAYS EXCEPT sizes_around_powers_of_two_work)
limited_test(as callbacks ALWAYS)
limited_test(as posix ALWAYS EXCEPT reallocarr_resizes_through_the_address_and_keeps_errno)
limited_test(as stress ALWAYS)
limited_test(as realloc)
limited_test(as zeroed_memory)
limited_test(as cxx)
limited_test(as error_reports)
limited_test(as thread_exit)
limited_test(as arena_heaps)
limited_test(as usable_variants)
limited_test(as compat)
limited_test(as errno_table)
limited_test(as options EXCEPT allow_thp_0_keeps_huge_pages_from_our_memory_only)
limited_test(as messages)
limited_test(as failing_calls)
limited_test(as idle_owner)
limited_test(as block_overhead)
limited_test(as metadata)
limited_test(as aligned EXCEPT every_alignment_up_to_1_gib_with_every_kind_of_size
  thirteen_fold_sizes_eight_alive_at_once)
limited_test(as remote_free EXCEPT many_threads_on_few_cores_end_in_time
  ten_thousand_threads_leave_memory_flat)
limited_test(as heap_allocation EXCEPT every_alignment_holds_in_a_heap)
limited_test(as heap_reallocation)
limited_test(as heap_life)
limited_test(as many_heaps EXCEPT ten_thousand_heaps_live_at_the_same_time)
limited_test(as heap_addresses EXCEPT huge_blocks_belong_to_a_heap)
limited_test(as heap_memory)
limited_test(as heap_frees_by_others EXCEPT heaps_come_and_go_in_32_threads)
limited_test(as heaps_of_ended_threads)
limited_test(as fork_with_heaps)
# The last of these has 20 MiB alive, and once in some fifty runs a request of it is refused; the
# reason is not known.
limited_test(as heap_visit EXCEPT blocks_that_come_from_the_system_are_visited
  visitor_ends_the_visit)
limited_test(as visit_while_others_work EXCEPT visits_while_others_allocate_start_and_end)
limited_test(as fork EXCEPT fork_handlers_of_others_may_allocate
  fork_handlers_may_allocate_while_other_threads_do)
limited_test(as stats_figures)
limited_test(as stats_json)
limited_test(as stats_text)
limited_test(as process)
limited_test(as large_blocks EXCEPT doubling_to_1_gib_needs_at_most_a_tenth_more
  growing_by_64_kib_ten_thousand_times_is_linear shrinking_gives_memory_back
  many_vectors_that_grow_need_few_mappings
  block_with_a_part_treated_otherwise_keeps_its_contents freed_huge_blocks_are_given_back
  many_huge_blocks_are_found_room_for block_above_4_gib_works)

limited_test(data allocation ALWAYS)
limited_test(data sizes ALWAYS EXCEPT sizes_around_powers_of_two_work)
limited_test(data callbacks ALWAYS)
limited_test(data stress ALWAYS)
limited_test(data posix)
limited_test(data realloc)
limited_test(data zeroed_memory)
limited_test(data cxx)
limited_test(data thread_exit)
limited_test(data arena_heaps)
limited_test(data usable_variants)
limited_test(data compat)
limited_test(data errno_table)
limited_test(data heap_frees_by_others)
limited_test(data heaps_of_ended_threads)
limited_test(data fork_with_heaps)
limited_test(data idle_owner)
limited_test(data block_overhead)
limited_test(data metadata)
limited_test(data error_reports EXCEPT more_than_there_is_reports_enomem_only)
limited_test(data aligned EXCEPT every_alignment_up_to_1_gib_with_every_kind_of_size
  thirteen_fold_sizes_eight_alive_at_once)
limited_test(data remote_free EXCEPT many_threads_on_few_cores_end_in_time)
# Each of its blocks aligned to 64 MiB opens the addresses up to it.
limited_test(data heap_allocation EXCEPT every_alignment_holds_in_a_heap)
limited_test(data heap_reallocation)
limited_test(data heap_life)
limited_test(data many_heaps EXCEPT ten_thousand_heaps_live_at_the_same_time)
limited_test(data heap_addresses EXCEPT huge_blocks_belong_to_a_heap)
limited_test(data heap_memory)
limited_test(data heap_visit EXCEPT blocks_that_come_from_the_system_are_visited
  visitor_ends_the_visit)
limited_test(data visit_while_others_work)
limited_test(data fork EXCEPT fork_handlers_of_others_may_allocate
  fork_handlers_may_allocate_while_other_threads_do)
limited_test(data stats_figures)
limited_test(data stats_json)
limited_test(data stats_text)
limited_test(data process)
limited_test(data oom EXCEPT shortage_that_has_ended_leaves_no_trace
  small_reserve_does_not_limit_what_can_be_allocated)
# With access on demand a block consists of more mappings than this case allows for.
limited_test(data failing_calls EXCEPT moved_blocks_are_moved_again_by_fragments)

# The limit holds: a case that needs more fails.
add_test(NAME under_is_felt COMMAND run_limited as=512 $<TARGET_FILE:large_blocks> block_above_4_gib_works)
set_tests_properties(under_is_felt PROPERTIES LABELS limits TIMEOUT 60
  PASS_REGULAR_EXPRESSION "failed: ")
