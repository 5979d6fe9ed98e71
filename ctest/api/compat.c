/* compat.c - decisions where the versions of the interface disagree or 2.1.7 has a fault, and
 * promises of docs/guarantees.md that no other test proves. docs/compatibility.md describes each
 * decision and names its proof. */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>
#include <sys/time.h>

/* ---- shapes: what a compiler sees -------------------------------------------------------- */

/* Where a later version has another signature, ours is that of 2.1.7. */
static void signatures_are_those_of_2_1_7(void) {
  void (*show_arenas)(bool, bool, bool) = &mi_debug_show_arenas;
  unsigned short* (*copy_wide)(const unsigned short*) = &mi_wcsdup;
  int (*copy_variable)(unsigned short**, size_t*, const unsigned short*) = &mi_wdupenv_s;
  bool (*visit)(const mi_heap_t*, bool, mi_block_visit_fun*, void*) = &mi_heap_visit_blocks;
  bool (*manage)(void*, size_t, bool, bool, bool, int) = &mi_manage_os_memory;
  void* (*area)(mi_arena_id_t, size_t*) = &mi_arena_area;
  mi_heap_t* (*in_arena)(int) = &mi_heap_new_in_arena;
  CHECK(show_arenas != NULL && copy_wide != NULL && copy_variable != NULL && visit != NULL);
  CHECK(manage != NULL && area != NULL && in_arena != NULL);
  CHECK_EQ(sizeof(mi_arena_id_t), sizeof(int));
}

/* 2.4.1 and 3.4.3 have a seventh field each, and 56 bytes. */
static void areas_have_six_fields(void) {
  CHECK_EQ(sizeof(mi_heap_area_t), 6 * sizeof(void*));
  CHECK_EQ(offsetof(mi_heap_area_t, full_block_size), 5 * sizeof(void*));
}

/* 3.4.3 has the type first. */
static void typed_macros_take_the_type_where_2_1_7_has_it(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  long* p = mi_mallocn_tp(long, 10);
  REQUIRE(p != NULL);
  p = mi_reallocn_tp(p, long, 20);
  REQUIRE(p != NULL);
  long* q = mi_heap_zalloc_tp(heap, long);
  REQUIRE(q != NULL);
  CHECK_EQ(*q, 0);
  q = mi_heap_recalloc_tp(heap, q, long, 30);
  REQUIRE(q != NULL);
  CHECK_EQ(q[29], 0);
  CHECK(mi_heap_contains_block(heap, q));
  mi_free(p);
  mi_heap_destroy(heap);
}

/* The version of the interface is 2.1.7, with all additions; macros announce the additions. */
static void additions_are_announced_by_macros_and_not_by_the_version(void) {
  CHECK_EQ(MI_MALLOC_VERSION, 217);
  CHECK_EQ(mi_version(), 217);
  CHECK_EQ(MI_HAS_ALIGN8 + MI_HAS_UBLOCK + MI_HAS_SMALL_EXTRA + MI_HAS_PRINT, 4);
  CHECK_EQ(MI_HAS_HEAP_QUERY + MI_HAS_HEAP_EX + MI_HAS_VISIT_ABANDONED + MI_HAS_ARENA_QUERY, 4);
  CHECK_EQ(MI_HAS_RELEASE + MI_HAS_DEFAULT_OPTIONS + MI_HAS_STATS, 3);
}

/* ---- what is left out -------------------------------------------------------------------- */

#define LEFT_OUT(X)                                                                                \
  X(mi_subproc_main)                                                                               \
  X(mi_subproc_new)                                                                                \
  X(mi_subproc_delete)                                                                             \
  X(mi_subproc_add_current_thread)                                                                 \
  X(mi_subproc_current)                                                                            \
  X(mi_subproc_destroy)                                                                            \
  X(mi_subproc_visit_heaps)                                                                        \
  X(mi_subproc_stats_get)                                                                          \
  X(mi_subproc_stats_get_exclusive)                                                                \
  X(mi_subproc_stats_get_json)                                                                     \
  X(mi_subproc_stats_print_out)                                                                    \
  X(mi_subproc_heap_stats_print_out)                                                               \
  X(mi_heap_stats_merge_to_subproc)                                                                \
  X(mi_heap_theap)                                                                                 \
  X(mi_theap_set_default)                                                                          \
  X(mi_theap_get_default)                                                                          \
  X(mi_theap_collect)                                                                              \
  X(mi_theap_malloc)                                                                               \
  X(mi_theap_zalloc)                                                                               \
  X(mi_theap_calloc)                                                                               \
  X(mi_theap_malloc_small)                                                                         \
  X(mi_theap_zalloc_small)                                                                         \
  X(mi_theap_malloc_aligned)                                                                       \
  X(mi_theap_realloc)                                                                              \
  X(mi_theap_visit_blocks)                                                                         \
  X(mi_theap_guarded_set_sample_rate)                                                              \
  X(mi_theap_guarded_set_size_bound)                                                               \
  X(mi_heap_guarded_set_sample_rate)                                                               \
  X(mi_heap_guarded_set_size_bound)                                                                \
  X(mi_manage_memory)                                                                              \
  X(mi_heap_try_new)

#define DECLARE_WEAK(name) extern void name(void) __attribute__((weak));
LEFT_OUT(DECLARE_WEAK)

/* The list in the document is complete: adding one of them changes both. */
static void functions_that_are_left_out_do_not_exist(void) {
#define CHECK_ABSENT(name) CHECK_NULL(opaque(&name));
  LEFT_OUT(CHECK_ABSENT)
}

/* ---- arenas -------------------------------------------------------------------------------- */

static size_t shown;
static void on_output(const char* message, void* arg) {
  (void)arg;
  shown += strlen(message);
}

/* 2.1.7 shows arenas in verbose mode only. */
static void arenas_are_shown_whatever_verbose_says(void) {
  CHECK_EQ(mi_option_get(mi_option_verbose), 0);
  void* p = mi_malloc(100);
  REQUIRE(p != NULL);
  mi_register_output(&on_output, NULL);
  mi_debug_show_arenas(true, true, true);
  mi_register_output(NULL, NULL);
  CHECK_GE(shown, 100);
  mi_free(p);
}

/* 2.1.7 stores -1 when no page is requested, and when the list of arenas is full. */
static void an_id_that_is_none_is_0(void) {
  mi_arena_id_t id = 77;
  CHECK_EQ(mi_reserve_huge_os_pages_at_ex(0, -1, 0, true, &id), 0);
  CHECK_EQ(id, 0);
}

/* 2.4.1 deletes it instead. */
static void heap_in_an_arena_can_be_destroyed(void) {
  mi_arena_id_t id;
  REQUIRE(mi_reserve_os_memory_ex(2 * MIB, true, false, true, &id) == 0);
  for (int round = 0; round < 20; round++) {
    mi_heap_t* heap = mi_heap_new_in_arena(id);
    REQUIRE(heap != NULL);
    size_t bytes = 0;
    while (mi_heap_malloc(heap, 30000) != NULL) bytes += 30000;
    CHECK_GE(bytes, MIB); /* the previous round has left no block */
    mi_heap_destroy(heap);
  }
}

/* ---- heaps --------------------------------------------------------------------------------- */

/* 2.x ignores the call. */
static void collecting_the_null_heap_collects_the_default_heap(void) {
  enum { BLOCKS = 200 };
  void* blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) REQUIRE((blocks[i] = mi_malloc(60000)) != NULL);
  for (size_t i = 0; i < BLOCKS; i++) memset(blocks[i], 1, 60000);
  size_t before = rss_bytes();
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
  mi_heap_collect(NULL, true);
  CHECK_LE(rss_bytes() + (RSS_IS_MEANINGFUL ? 8 * MIB : 0), before);
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* 2.1.7 forgets the offset where the alignment is that of a pointer or less. */
static void small_alignment_with_an_offset_is_kept(void) {
  for (size_t size = 1; size < 100000; size = size * 3 + 1) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    p = (char*)mi_realloc_aligned_at(p, size + 5, 8, 4);
    REQUIRE(p != NULL);
    CHECK(is_aligned(p + 4, 8));
    mi_free(p);
  }
}

/* 2.4.1 tells the size of the block around it. */
static void size_of_an_aligned_block_counts_from_the_pointer(void) {
  for (size_t alignment = 16; alignment <= MIB; alignment *= 4) {
    size_t told = 0;
    char* p = (char*)mi_umalloc_aligned(100, alignment, &told);
    REQUIRE(p != NULL);
    CHECK_EQ(told, mi_usable_size(p));
    memset(p, 1, told);
    mi_free(p);
  }
}

/* 2.1.7 leaks the string of the C library where malloc is not overridden. */
static void realpath_leaves_nothing_behind(void) {
  size_t before = 0;
  for (size_t i = 0; i < check_scaled(100000); i++) {
    char* path = mi_realpath("/proc/self/..", NULL);
    REQUIRE(path != NULL);
    mi_free(path);
    if (i == 1000) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + MIB);
}

static size_t errors_printed;
static void count_errors(const char* message, void* arg) {
  (void)arg;
  errors_printed += strstr(message, "error: ") != NULL;
}

static void limits_of_messages_are_those_of_the_start(void) {
  mi_register_output(&count_errors, NULL);
  mi_option_enable(mi_option_show_errors);
  mi_option_set(mi_option_max_errors, 3);
  CHECK_EQ(mi_option_get(mi_option_max_errors), 3);
  for (int i = 0; i < 50; i++) CHECK_NULL(mi_malloc(opaque_size((size_t)1 << 47)));
  CHECK_EQ(errors_printed, 32);
  mi_register_output(NULL, NULL);
}

static char whole[600];
static size_t calls;
static void keep_message(const char* message, void* arg) {
  (void)arg;
  calls++;
  snprintf(whole, sizeof whole, "%s", message);
}

/* In 2.1.7 the prefix is a call of its own. */
static void a_message_is_one_call(void) {
  mi_register_output(&keep_message, NULL);
  mi_option_enable(mi_option_show_errors);
  calls = 0;
  CHECK_NULL(mi_malloc(opaque_size((size_t)1 << 47)));
  CHECK_EQ(calls, 1);
  CHECK(strncmp(whole, "mimalloc: error: ", 17) == 0);
  CHECK(strlen(whole) > 30 && whole[strlen(whole) - 1] == '\n');
  mi_register_output(NULL, NULL);
}

/* Errors that cost nothing to find are reported in all builds, the others in debug and secure
 * builds. */
static int last_code;
static void on_error(int code, void* arg) {
  (void)arg;
  last_code = code;
}
static int code_of_free(const void* p) {
  last_code = 0;
  mi_free(opaque(p));
  return last_code;
}

static void checked_builds_find_wrong_pointers_and_double_frees(void) {
  mi_register_error(&on_error, NULL);
  CHECK_EQ(code_of_free(&last_code), EINVAL);
  char* large = (char*)mi_malloc(MIB);
  CHECK_EQ(code_of_free(large), 0);
  CHECK_EQ(code_of_free(large), EINVAL);
#if defined(MI_TEST_DEBUG_FULL)
  for (size_t size = 1; size <= 60000; size = size * 5 + 3) {
    char* p = (char*)mi_malloc(size);
    char* q = (char*)mi_malloc(size);
    REQUIRE(p != NULL && q != NULL);
    memset(q, 0x5A, size); /* not a link */
    CHECK_EQ(code_of_free(p + 1), EINVAL);
    CHECK_EQ(code_of_free(p), 0);
    CHECK_EQ(code_of_free(p), EAGAIN);
    CHECK_EQ(code_of_free(q), 0);
    CHECK_EQ(code_of_free(p), EAGAIN);
  }
#endif
  mi_register_error(NULL, NULL);
}

/* ---- signals ------------------------------------------------------------------------------- */

/* What a signal handler may call at any point of the program. */
#define ASKED 8
static char* asked[ASKED];
static size_t asked_sizes[ASKED];
static volatile sig_atomic_t signals_seen, signals_wrong;

static void on_signal(int number) {
  (void)number;
  int saved = errno;
  for (size_t i = 0; i < ASKED; i++) {
    signals_wrong += mi_usable_size(asked[i]) != asked_sizes[i];
    signals_wrong += mi_malloc_size(asked[i]) != asked_sizes[i];
    signals_wrong += mi_malloc_usable_size(asked[i]) != asked_sizes[i];
    signals_wrong += mi_good_size(asked_sizes[i]) < asked_sizes[i];
    signals_wrong += mi_malloc_good_size(asked_sizes[i]) < asked_sizes[i];
  }
  if (!WRONG_ADDRESSES_ARE_REPORTED) signals_wrong += mi_usable_size(&number) != 0;
  signals_wrong += mi_option_get(mi_option_os_tag) != 100;
  signals_wrong += mi_option_get_clamp(mi_option_os_tag, 0, 50) != 50;
  signals_wrong += mi_option_get_size(mi_option_arena_reserve) == 0;
  signals_wrong += mi_option_is_enabled(mi_option_show_stats);
  signals_wrong += mi_version() != 217 || mi_is_redirected();
  signals_wrong += mi_release() <= 0 || mi_release_text()[0] != '2';
  signals_wrong += mi_arena_min_alignment() != 65536 || mi_arena_min_size() != 65536;
  signals_wrong += mi_arena_contains(1, &number) || mi_arena_area(-1, NULL) != NULL;
  signals_wrong += errno != saved;
  signals_seen++;
}

static void signal_handlers_may_ask_for_sizes_and_options(void) {
  static const size_t sizes[ASKED] = {0, 10, 100, 1000, 10000, 100000, MIB, 10 * MIB};
  for (size_t i = 0; i < ASKED; i++) {
    REQUIRE((asked[i] = (char*)mi_malloc(sizes[i])) != NULL);
    asked_sizes[i] = mi_usable_size(asked[i]);
  }
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = &on_signal;
  action.sa_flags = SA_RESTART;
  REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval often = {{0, 200}, {0, 200}};
  REQUIRE(setitimer(ITIMER_REAL, &often, NULL) == 0);
  rng_t rng = {5};
  static void* held[500];
  double end = now_seconds() + 1.0 * check_scale();
  while (now_seconds() < end) {
    for (int i = 0; i < 200; i++) {
      size_t at = rng_below(&rng, COUNT_OF(held));
      size_t size = rng_size(&rng, i == 0 ? 4 * MIB : 20000);
      held[at] = mi_realloc(held[at], size);
      REQUIRE(held[at] != NULL);
      at = rng_below(&rng, COUNT_OF(held));
      mi_free(held[at]);
      held[at] = NULL;
    }
    if (rng_below(&rng, 100) == 0) mi_collect(true);
  }
  struct itimerval never = {{0, 0}, {0, 0}};
  REQUIRE(setitimer(ITIMER_REAL, &never, NULL) == 0);
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  check_note("%d signals\n", (int)signals_seen);
  CHECK_GE(signals_seen, 20);
  CHECK_EQ(signals_wrong, 0);
}

/* ---- fork ------------------------------------------------------------------------------------ */

/* Blocks that another thread of the parent allocated stay valid in the child and can be released
 * and reused there. The heaps of that thread are gone. */
static pthread_barrier_t ready, done;
static char* left[100];
static mi_heap_t* left_heap;
static void* hold_blocks(void* arg) {
  (void)arg;
  left_heap = mi_heap_new();
  REQUIRE(left_heap != NULL);
  for (size_t i = 0; i < COUNT_OF(left); i++) {
    left[i] = (char*)mi_heap_malloc(i % 2 == 0 ? NULL : left_heap, 1000 * (i + 1));
    REQUIRE(left[i] != NULL);
    pattern_fill(left[i], 1000, (unsigned)i);
  }
  pthread_barrier_wait(&ready);
  pthread_barrier_wait(&done);
  return NULL;
}
static void check_left(void) {
  for (size_t i = 0; i < COUNT_OF(left); i++) CHECK(pattern_holds(left[i], 1000, (unsigned)i));
}

static void child_has_the_blocks_of_all_threads_and_the_heaps_of_its_own(void) {
  pthread_barrier_init(&ready, NULL, 2);
  pthread_barrier_init(&done, NULL, 2);
  pthread_t thread = thread_start(&hold_blocks, NULL);
  pthread_barrier_wait(&ready);
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  char* own = (char*)mi_heap_malloc(heap, 100);
  REQUIRE(own != NULL);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    check_left();
    for (size_t i = 0; i < COUNT_OF(left); i++) {
      CHECK(mi_heap_of(left[i]) == mi_heap_main());
      left[i] = (char*)mi_realloc(left[i], 300000);
      REQUIRE(left[i] != NULL);
    }
    check_left();
    for (size_t i = 0; i < COUNT_OF(left); i++) mi_free(left[i]);
    CHECK(mi_heap_contains_block(heap, own));
    CHECK_NOT_NULL(mi_heap_malloc(heap, 1000));
    mi_heap_destroy(heap);
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
  check_left();
  CHECK(mi_heap_of(left[1]) == left_heap);
  pthread_barrier_wait(&done);
  thread_join(thread);
  for (size_t i = 0; i < COUNT_OF(left); i++) mi_free(left[i]);
  mi_heap_delete(heap);
  mi_free(own);
}

static const check_case_t cases[] = {
    CASE(signatures_are_those_of_2_1_7),
    CASE(areas_have_six_fields),
    CASE(typed_macros_take_the_type_where_2_1_7_has_it),
    CASE(additions_are_announced_by_macros_and_not_by_the_version),
    CASE(functions_that_are_left_out_do_not_exist),
    CASE(arenas_are_shown_whatever_verbose_says),
    CASE(an_id_that_is_none_is_0),
    CASE(heap_in_an_arena_can_be_destroyed),
    CASE(collecting_the_null_heap_collects_the_default_heap),
    CASE(small_alignment_with_an_offset_is_kept),
    CASE(size_of_an_aligned_block_counts_from_the_pointer),
    CASE(realpath_leaves_nothing_behind),
    CASE(limits_of_messages_are_those_of_the_start),
    CASE(a_message_is_one_call),
    CASE(checked_builds_find_wrong_pointers_and_double_frees),
    CASE(signal_handlers_may_ask_for_sizes_and_options),
    CASE(child_has_the_blocks_of_all_threads_and_the_heaps_of_its_own),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
