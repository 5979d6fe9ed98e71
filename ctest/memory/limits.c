/* limits.c - memory limits: of the process, of a heap, of the container. The library is part of
 * this program, so that the cases can compare its count with a fresh one, and show it the files of
 * another container. */
#include "all.c"

#include "support/check.h"
#include <pthread.h>
#include <sys/stat.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define KEEP_MAX 400000
static void* kept[KEEP_MAX];
static uint32_t kept_size[KEEP_MAX];
static size_t kept_count, kept_bytes;

/* Resident memory that is no file's. Exact, unlike the numbers in statm. */
static size_t rss(void) {
  static char text[4096];
  size_t n = read_file("/proc/self/smaps_rollup", text, sizeof text);
  const char* line = n > 0 ? strstr(text, "Anonymous:") : NULL;
  REQUIRE(line != NULL);
  return strtoul(line + 10, NULL, 10) * KiB;
}

static void mark(void* p, size_t size) {
  for (size_t i = 0; i < size; i += 512) ((char*)p)[i] = (char)(size + i);
  ((char*)p)[size - 1] = (char)size;
}
static bool is_marked(const void* p, size_t size) {
  for (size_t i = 0; i + 1 < size; i += 512)
    if (((const char*)p)[i] != (char)(size + i)) return false;
  return ((const char*)p)[size - 1] == (char)size;
}

/* The size of the i-th block. */
static size_t size_of(size_t i, size_t most) {
  static const size_t sizes[] = {16, 700, 5000, 40000, 200000, 1500000, 9000000};
  size_t k = i * 5 % COUNT_OF(sizes);
  while (sizes[k] > most) k--;
  return sizes[k];
}

static bool keep(void* p, size_t size) {
  if (p == NULL) return false;
  mark(p, size);
  kept_size[kept_count] = (uint32_t)size;
  kept[kept_count++] = p;
  kept_bytes += size;
  return true;
}
static bool keep_next(size_t most) {
  size_t size = size_of(kept_count, most);
  return keep(mi_malloc(size), size);
}
/* Allocates until the first NULL, at most `most` bytes each. */
static void fill(size_t most) {
  for (errno = 0; kept_count < KEEP_MAX; errno = 0) {
    if (keep_next(most)) continue;
    CHECK_EQ(errno, ENOMEM);
    return;
  }
}
static void drop(size_t count) {
  for (; kept_count > count; mi_free(kept[kept_count])) {
    size_t size = kept_size[--kept_count];
    CHECK(is_marked(kept[kept_count], size));
    kept_bytes -= size;
  }
}

/* What the count must be: each slice that may be resident, OS-mapped blocks, metadata. */
static size_t counted_anew(void) {
  arena_stats_t arenas;
  large_stats_t large;
  arena_stats(&arenas);
  large_stats(&large);
  return arenas.committed + large.reserved + meta_resident();
}
static void check_count(void) {
  meta_measure();
  /* The purger may touch metadata between the two measurements. */
  for (int k = 0; k < 100 && usage_count() != counted_anew(); k++) {
    os_nap(1000);
    meta_measure();
  }
  CHECK_EQ(usage_count(), counted_anew());
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    CHECK_EQ(bitmap_count(a->counted, a->slices), bitmap_count(a->dirty, a->slices));
}

/* ---- the hard limit -------------------------------------------------------------------------- */

static void nothing_is_counted_without_a_limit(void) {
  void* p = mi_malloc(100);
  CHECK_NOT_NULL(p);
  CHECK(!usage_is_on());
  CHECK_EQ(usage_count(), 0);
  CHECK_EQ(load_relaxed(&usage.touched), 0);
  CHECK_EQ(bitmap_count(arena_at(0)->counted, arena_at(0)->slices), 0);
  CHECK_GE(mi_limit_used(), 64 * KiB);
  mi_free(p);
}

static void hard_limit_refuses_and_nothing_is_lost(void) {
  static const size_t most[] = {700, 40000, 9000000};
  for (size_t k = 0; k < COUNT_OF(most); k++) {
    size_t limit = (k + 2) * 24 * MiB;
    CHECK(mi_limit_set(0, limit));
    size_t others = rss() - mi_limit_used(); /* what the program itself has */
    fill(most[k]);
    check_note("limit %zu: %zu in blocks, %zu used, %zu resident\n", limit, kept_bytes,
               mi_limit_used(), rss() - others);
    CHECK_LE(rss() - others, limit);
    CHECK_LE(mi_limit_used(), limit);
    CHECK_GE(kept_bytes, limit / 100 * (k == 0 ? 85 : 70)); /* the rest is in larger classes */
    check_count();
    drop(kept_count / 2);
    size_t left = kept_count;
    fill(most[k]);
    CHECK_GE(kept_count, left + left / 2);
    CHECK_LE(rss() - others, limit);
    drop(0);
    mi_collect(true);
    check_count();
    CHECK_LE(mi_limit_used(), 4 * MiB);
  }
}

/* Blocks of one slice's page: the limit refuses no slice that would have fitted. */
static void hard_limit_is_reached_to_the_last_slice(void) {
  CHECK(mi_limit_set(0, 20 * MiB));
  fill(700);
  CHECK_GE(mi_limit_used() + USAGE_ALLOWANCE + SLICE_SIZE, 20 * MiB);
  drop(0);
}

static void memory_that_waits_for_its_purge_is_given_back_first(void) {
  mi_option_set(mi_option_purge_delay, 100000);
  CHECK(mi_limit_set(0, 64 * MiB));
  fill(700);
  drop(0);
  CHECK_GE(mi_limit_used(), 12 * MiB);
  void* p = mi_malloc(60 * MiB);
  REQUIRE(p != NULL);
  memset(p, 1, 60 * MiB);
  CHECK_LE(mi_limit_used(), 64 * MiB);
  mi_free(p);
  check_count();
}

static void failed_calls_keep_the_old_block(void) {
  enum { OLD = 3000000, NEW = 30000000, SMALL = 5000 };
  CHECK(mi_limit_set(0, 32 * MiB));
  char *large = mi_malloc_aligned(OLD, 64), *small = mi_zalloc(SMALL);
  mi_heap_t* heap = mi_heap_get_default();
  REQUIRE(large != NULL && small != NULL);
  mark(large, OLD), mark(small, SMALL);
  fill(40000);
  char* old[] = {large, small};
  for (size_t i = 0; i < COUNT_OF(old); i++) {
    CHECK_NULL(mi_realloc(old[i], NEW));
    CHECK_NULL(mi_rezalloc(old[i], NEW));
    CHECK_NULL(mi_recalloc(old[i], NEW, 1));
    CHECK_NULL(mi_reallocn(old[i], NEW, 1));
    CHECK_NULL(mi_realloc_aligned(old[i], NEW, 4096));
    CHECK_NULL(mi_rezalloc_aligned_at(old[i], NEW, 4096, 8));
    CHECK_NULL(mi_heap_realloc(heap, old[i], NEW));
    CHECK(is_marked(old[i], i == 0 ? OLD : SMALL));
  }
  errno = 0;
  CHECK_NULL(mi_calloc(NEW, 1));
  CHECK_EQ(errno, ENOMEM);
  CHECK_NULL(mi_malloc_aligned(NEW, 1 << 20));
  CHECK_NULL(mi_zalloc_aligned_at(NEW, 4096, 16));
  CHECK_NULL(mi_heap_calloc(heap, 1, NEW));
  CHECK_NULL(mi_new_nothrow(NEW));
  void* p = NULL;
  CHECK_EQ(mi_posix_memalign(&p, 4096, NEW), ENOMEM);
  drop(0);
  CHECK(is_marked(large, OLD) && is_marked(small, SMALL));
  char* grown = mi_realloc(large, OLD * 2);
  REQUIRE(grown != NULL);
  CHECK(is_marked(grown, 512) || grown[0] == (char)OLD);
  mi_free(grown), mi_free(small);
  check_count();
}

static void options_and_functions_set_the_same_limits(void) {
  CHECK(mi_limit_set(5 * MiB + 1, 20 * MiB + 100));
  CHECK_EQ(mi_option_get(mi_option_limit_soft), 5 * 1024);
  CHECK_EQ(mi_option_get_size(mi_option_limit_hard), 20 * MiB);
  CHECK(!mi_limit_set(2 * MiB, MiB));
  CHECK_EQ(mi_option_get_size(mi_option_limit_hard), 20 * MiB);
  CHECK_NULL(mi_malloc(30 * MiB));
  mi_option_set(mi_option_limit_hard, 40 * 1024);
  void* p = mi_malloc(30 * MiB);
  CHECK_NOT_NULL(p);
  mi_option_set(mi_option_limit_hard, 0);
  void* q = mi_malloc(300 * MiB);
  CHECK_NOT_NULL(q);
  mi_free(p), mi_free(q);
  CHECK(mi_limit_set(0, 1)); /* a limit, though it rounds down to 0 KiB */
  CHECK_NULL(mi_malloc(30 * MiB));
  CHECK(mi_limit_set(0, 0));
}

static void environment_sets_a_limit_from_the_first_call_on(void) {
  if (getenv("MIMALLOC_LIMIT_HARD") == NULL) { /* the process has read it already: start anew */
    setenv("MIMALLOC_LIMIT_HARD", "24MiB", 1);
    setenv("MIMALLOC_LIMIT_SOFT", "20MiB", 1);
    execl("/proc/self/exe", "limits", __func__, (char*)NULL);
  }
  CHECK_NULL(mi_malloc(30 * MiB));
  fill(40000);
  CHECK_GE(kept_bytes, 16 * MiB);
  CHECK_LE(kept_bytes, 24 * MiB);
  check_count();
  drop(0);
}

/* OS-mapped blocks and those that shrink and grow. */
static void mapped_blocks_count_as_long_as_they_live(void) {
  mi_option_set(mi_option_arena_max_object_size, 1024);
  void* before = mi_malloc(5 * MiB); /* counted without a limit, too */
  CHECK(mi_limit_set(0, 40 * MiB));
  void* p = mi_malloc(20 * MiB);
  REQUIRE(p != NULL);
  CHECK_NULL(mi_malloc(20 * MiB));
  check_count();
  p = mi_realloc(p, 5 * MiB);
  REQUIRE(p != NULL);
  check_count();
  void* q = mi_malloc(20 * MiB);
  CHECK_NOT_NULL(q);
  mi_free(p), mi_free(q), mi_free(before);
  mi_collect(true);
  check_count();
}

static void reserved_memory_counts_when_it_is_resident(void) {
  CHECK(mi_limit_set(0, 64 * MiB));
  CHECK_EQ(mi_reserve_os_memory(256 * MiB, true, false), 0);
  CHECK_LE(mi_limit_used(), MiB);
  static char own[4 * MiB];
  CHECK(mi_manage_os_memory(own, sizeof own, true, true, false, -1));
  CHECK_GE(mi_limit_used(), 3 * MiB);
  fill(9000000);
  CHECK_LE(mi_limit_used(), 64 * MiB);
  drop(0);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 8 };
static _Atomic(size_t) ready, late;
static _Atomic(bool) stop;

static void* take_all(void* unused) {
  void** blocks = NULL;
  (void)unused;
  add_relaxed(&ready, 1);
  while (load_relaxed(&ready) < THREADS) os_nap(10);
  for (void** p; (p = mi_malloc(1000)) != NULL; blocks = p) {
    memset(p, 1, 1000);
    *p = blocks;
    if (usage_count() > 64 * MiB) add_relaxed(&late, 1);
  }
  return blocks;
}
static void eight_threads_reach_the_limit_together(void) {
  CHECK(mi_limit_set(0, 64 * MiB));
  size_t others = rss() - mi_limit_used();
  pthread_t thread[THREADS];
  void* blocks[THREADS];
  for (size_t i = 0; i < THREADS; i++)
    REQUIRE(pthread_create(&thread[i], NULL, &take_all, NULL) == 0);
  for (size_t i = 0; i < THREADS; i++) pthread_join(thread[i], &blocks[i]);
  size_t resident = rss() - others;
  check_note("used %zu, resident with 8 stacks %zu\n", mi_limit_used(), resident);
  CHECK_EQ(load_relaxed(&late), 0);
  CHECK_LE(resident, 64 * MiB + THREADS * 128 * KiB); /* the C library keeps their stacks */
  CHECK_GE(mi_limit_used() + USAGE_ALLOWANCE + THREADS * 64 * KiB, 64 * MiB);
  for (size_t i = 0; i < THREADS; i++)
    for (void *p = blocks[i], *next; p != NULL; mi_free(p), p = next) next = *(void**)p;
  mi_collect(true);
  check_count();
}

/* Allocates, frees and purges while the first limit is set. */
static void* churn(void* seed) {
  static _Atomic(void*) slots[64];
  uint64_t random = (uintptr_t)seed * 7919 + 1;
  while (!load_relaxed(&stop)) {
    random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
    size_t i = random >> 58, size = (size_t)1 << (random >> 40) % 22;
    void* old = swap_acq_rel(&slots[i], random % 4 == 0 ? NULL : mi_malloc(size));
    if (old != NULL) *(char*)old = 1;
    mi_free(old);
  }
  add_relaxed(&ready, 1);
  while (load_relaxed(&ready) < 4) os_nap(10);
  if (seed == NULL)
    for (size_t i = 0; i < COUNT_OF(slots); i++) mi_free(swap_acq_rel(&slots[i], NULL));
  return NULL;
}
static void a_limit_that_is_set_among_working_threads_counts_right(void) {
  mi_option_set(mi_option_purge_delay, 0);
  pthread_t thread[4];
  for (size_t i = 0; i < 4; i++) REQUIRE(pthread_create(&thread[i], NULL, &churn, (void*)i) == 0);
  os_nap(20000);
  CHECK(mi_limit_set(0, 1024 * MiB));
  os_nap(20000);
  store_relaxed(&stop, true);
  for (size_t i = 0; i < 4; i++) pthread_join(thread[i], NULL);
  mi_collect(true);
  check_count();
}

/* ---- the soft limit -------------------------------------------------------------------------- */

static size_t soft_calls, soft_depth;
static pthread_t soft_thread;

static void on_soft_limit(size_t used, size_t limit_bytes, void* arg) {
  CHECK_EQ(soft_depth, 0);
  soft_depth++;
  soft_calls++;
  soft_thread = pthread_self();
  CHECK_LE(limit_bytes, used);
  CHECK_EQ(limit_bytes, 16 * MiB);
  void* p = mi_malloc(3 * MiB);
  CHECK_NOT_NULL(p);
  void* q = mi_malloc(100);
  mi_free(p), mi_free(q);
  if (arg != NULL) drop(0);
  soft_depth--;
}
static void soft_limit_calls_once_for_each_crossing(void) {
  mi_register_limit(&on_soft_limit, NULL);
  CHECK(mi_limit_set(16 * MiB, 0));
  for (size_t round = 1; round <= 3; round++) {
    while (kept_bytes < 12 * MiB) REQUIRE(keep_next(40000));
    CHECK_EQ(soft_calls, round - 1);
    while (kept_bytes < 40 * MiB) REQUIRE(keep_next(40000));
    CHECK_EQ(soft_calls, round);
    CHECK(pthread_equal(soft_thread, pthread_self()));
    drop(0);
    mi_collect(true);
  }
  void* p = mi_malloc(20 * MiB); /* a single block crosses, too */
  CHECK_EQ(soft_calls, 4);
  mi_free(p);
  mi_register_limit(NULL, NULL);
  CHECK_NOT_NULL(p = mi_malloc(20 * MiB));
  CHECK_EQ(soft_calls, 4);
  mi_free(p);
}

static void what_the_callback_frees_is_given_back(void) {
  CHECK(mi_limit_set(16 * MiB, 24 * MiB));
  mi_register_limit(&on_soft_limit, kept);
  mi_option_set(mi_option_purge_delay, 100000);
  for (size_t i = 0; i < 4000; i++) REQUIRE(keep_next(40000));
  CHECK_GE(soft_calls, 2);
  CHECK_LE(mi_limit_used(), 17 * MiB);
  drop(0);
}

/* ---- heaps ----------------------------------------------------------------------------------- */

static size_t heap_fill(mi_heap_t* heap, size_t size) {
  size_t n = 0;
  for (errno = 0; keep(mi_heap_malloc(heap, size), size); n++) {
  }
  CHECK_EQ(errno, ENOMEM);
  return n;
}
static size_t heap_bytes(const heap_t* heap) {
  size_t slices = heap->queued_slices;
  for (size_t cls = 0; cls < CLASS_COUNT; cls++)
    if (heap->queue[cls].active != NULL) slices += page_slices(heap->queue[cls].active);
  return slices * SLICE_SIZE + load_relaxed(&heap->large_bytes);
}
static void* free_all_kept(void* unused) {
  (void)unused;
  while (kept_count > 0) mi_free(kept[--kept_count]);
  return NULL;
}
static void heap_has_a_limit_of_its_own(void) {
  mi_heap_t* heaps[] = {mi_heap_new(), mi_heap_get_backing()};
  static const size_t sizes[] = {100, 2000, 60000, 700000, 3000000};
  for (size_t h = 0; h < COUNT_OF(heaps); h++) {
    CHECK(mi_heap_set_limit(heaps[h], 16 * MiB));
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
      size_t n = heap_fill(heaps[h], sizes[k]);
      CHECK_LE(n * sizes[k], 16 * MiB);
      CHECK_GE(n * sizes[k], 12 * MiB);
      CHECK_LE(heap_bytes(heaps[h]), 16 * MiB);
      CHECK_NULL(mi_heap_malloc(heaps[h], 17 * MiB));
      if (sizes[k] == 3000000) CHECK_NULL(mi_heap_realloc(heaps[h], kept[0], 9000000));
      void* p = mi_heap_malloc(heaps[1 - h], 1000000); /* the other heap goes on */
      CHECK_NOT_NULL(p);
      mi_free(p);
      pthread_t thread; /* large blocks that others free count down at once */
      REQUIRE(pthread_create(&thread, NULL, &free_all_kept, NULL) == 0);
      pthread_join(thread, NULL);
      mi_heap_collect(heaps[h], true);
      CHECK_EQ(load_relaxed(&heaps[h]->large_bytes), 0);
      CHECK_EQ(heap_fill(heaps[h], sizes[k]), n);
      (void)free_all_kept(NULL);
    }
    CHECK(mi_heap_set_limit(heaps[h], 0));
    void* p = mi_heap_malloc(heaps[h], 40 * MiB);
    CHECK_NOT_NULL(p);
    mi_free(p);
  }
  mi_heap_delete(heaps[0]);
}

static void* limited_thread(void* unused) {
  (void)unused;
  CHECK(mi_heap_set_limit(NULL, 16 * MiB));
  CHECK_GE(heap_fill(NULL, 900), 12000);
  while (kept_count > 1000) mi_free(kept[--kept_count]);
  CHECK(keep(mi_malloc(5000000), 5000000));
  return mi_heap_get_backing();
}
static void blocks_of_an_ended_thread_with_a_limit_stay_valid(void) {
  pthread_t thread;
  void* heap;
  for (size_t round = 0; round < 3; round++) {
    REQUIRE(pthread_create(&thread, NULL, &limited_thread, NULL) == 0);
    pthread_join(thread, &heap);
    CHECK_EQ(load_relaxed(&((heap_t*)heap)->large_bytes), 0);
    CHECK(!mi_heap_set_limit(heap, MiB)); /* another thread's, or none's */
    CHECK(is_marked(kept[--kept_count], 5000000));
    mi_free(kept[kept_count]);
    for (size_t i = 0; i < kept_count; i++) CHECK(is_marked(kept[i], 900));
    (void)free_all_kept(NULL);
  }
}

/* ---- the container --------------------------------------------------------------------------- */

static char root[64];

static void write_file(const char* path, const char* text) {
  char name[256];
  snprintf(name, sizeof name, "%s%s", root, path);
  for (char* s = name + strlen(root) + 1; (s = strchr(s, '/')) != NULL; *s++ = '/') {
    *s = 0;
    (void)mkdir(name, 0700);
  }
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}
static void make_root(void) {
  strcpy(root, "/tmp/limits-XXXXXX");
  REQUIRE(mkdtemp(root) != NULL);
}
static void remove_root(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", root);
  CHECK_EQ(system(command), 0);
}

static void least_limit_of_the_groups_around_is_found(void) {
  make_root();
  errno = 77;
  CHECK_EQ(os_container_limit(root), SIZE_MAX); /* no files */
  CHECK_EQ(errno, 77);
  write_file("/proc/self/cgroup", "0::/a/b/c\n");
  CHECK_EQ(os_container_limit(root), SIZE_MAX);
  write_file("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
  write_file("/sys/fs/cgroup/a/b/memory.max", "3000000\n");
  write_file("/sys/fs/cgroup/a/memory.max", "2000000\n");
  CHECK_EQ(os_container_limit(root), 2000000);
  write_file("/sys/fs/cgroup/a/b/c/memory.max", "1000000\n");
  CHECK_EQ(os_container_limit(root), 1000000);
  write_file("/sys/fs/cgroup/memory.max",
             "500000"); /* the container's root, without a line's end */
  CHECK_EQ(os_container_limit(root), 500000);
  write_file("/proc/self/cgroup", "0::/\n");
  CHECK_EQ(os_container_limit(root), 500000);
  write_file("/proc/self/cgroup", "0::/not/there/../x\n");
  CHECK_EQ(os_container_limit(root), 500000);
  /* version 1 */
  write_file("/proc/self/cgroup",
             "12:pids:/x\n9:cpu,memory_x,memory:/d/e\n3:memory_y:/z\n1:name=s:/\n");
  CHECK_EQ(os_container_limit(root), SIZE_MAX);
  write_file("/sys/fs/cgroup/memory/d/e/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK_EQ(os_container_limit(root), SIZE_MAX);
  write_file("/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "99999999999999999999999999\n");
  CHECK_EQ(os_container_limit(root), SIZE_MAX);
  write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "7000000\n");
  CHECK_EQ(os_container_limit(root), 7000000);
  /* both: the lesser */
  write_file("/proc/self/cgroup", "9:memory:/d/e\n0::/a\n");
  CHECK_EQ(os_container_limit(root), 500000);
  /* lines that are cut, wrong or too long */
  static char line[3000];
  memset(line, 'x', sizeof line - 2);
  memcpy(line, "0::/", 4);
  line[sizeof line - 2] = '\n';
  static const char* const wrong[] = {"", "\n", ":", "0:", "0::", "0::/a", "9:memory", line};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    write_file("/proc/self/cgroup", wrong[i]);
    CHECK_EQ(os_container_limit(root), SIZE_MAX);
  }
  remove_root();
}

static void container_gives_a_share_that_is_followed(void) {
  make_root();
  limits.root = root;
  write_file("/proc/self/cgroup", "0::/a\n");
  write_file("/sys/fs/cgroup/a/memory.max", "67108864\n");
  void* p = mi_malloc(100 * MiB);
  CHECK_NOT_NULL(p);
  mi_free(p);
  mi_collect(true);
  mi_option_set(mi_option_limit_container, 50);
  CHECK_NULL(mi_malloc(40 * MiB));
  CHECK_NOT_NULL(p = mi_malloc(20 * MiB));
  mi_free(p);
  CHECK(mi_limit_set(0, 10 * MiB)); /* the lesser of both */
  CHECK_NULL(mi_malloc(20 * MiB));
  CHECK(mi_limit_set(0, 200 * MiB));
  CHECK_NULL(mi_malloc(40 * MiB));
  write_file("/sys/fs/cgroup/a/memory.max", "134217728\n");
  CHECK_NULL(mi_malloc(40 * MiB)); /* read a moment ago */
  store_relaxed(&limits.read_ms, 0);
  limit_tick();
  CHECK_NOT_NULL(p = mi_malloc(40 * MiB));
  mi_free(p);
  mi_option_set(mi_option_limit_container, 0);
  CHECK_NOT_NULL(p = mi_malloc(150 * MiB));
  mi_free(p);
  remove_root();
}

static const check_case_t cases[] = {
    CASE(nothing_is_counted_without_a_limit),
    CASE(hard_limit_refuses_and_nothing_is_lost),
    CASE(hard_limit_is_reached_to_the_last_slice),
    CASE(memory_that_waits_for_its_purge_is_given_back_first),
    CASE(failed_calls_keep_the_old_block),
    CASE(options_and_functions_set_the_same_limits),
    CASE(environment_sets_a_limit_from_the_first_call_on),
    CASE(mapped_blocks_count_as_long_as_they_live),
    CASE(reserved_memory_counts_when_it_is_resident),
    CASE(eight_threads_reach_the_limit_together),
    CASE(a_limit_that_is_set_among_working_threads_counts_right),
    CASE(soft_limit_calls_once_for_each_crossing),
    CASE(what_the_callback_frees_is_given_back),
    CASE(heap_has_a_limit_of_its_own),
    CASE(blocks_of_an_ended_thread_with_a_limit_stay_valid),
    CASE(least_limit_of_the_groups_around_is_found),
    CASE(container_gives_a_share_that_is_followed),
};

int main(int argc, char** argv) {
  memset(kept, 1, sizeof kept); /* resident from the start */
  memset(kept_size, 1, sizeof kept_size);
  return CHECK_MAIN(argc, argv, cases);
}
