/* secure_keys.c - what an attacker must not foresee in a secure build: canaries and their keys, the
 * order and the addresses of blocks, also in a child process, and when a freed block is allocated
 * again; and the cost of the quarantine with many threads.
 *
 * Built only with MI_SECURE; each case holds from the level on that promises it.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>
#include <sys/syscall.h>

#if defined(__has_include)
#if __has_include(<linux/seccomp.h>) && __has_include(<linux/filter.h>)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#define HAS_SECCOMP 1
#endif
#endif
#ifndef HAS_SECCOMP
#define HAS_SECCOMP 0
#endif

#define CANARIES (MI_TEST_SECURE >= 3)
#define RANDOM_ORDER (MI_TEST_SECURE >= 2)
#define QUARANTINE (MI_TEST_SECURE >= 3)
#define CANARY_SIZE 8

/* ---- canaries ------------------------------------------------------------------------------ */

/* The canary of a block without padding: read past its end, as a bug would do. */
static uint64_t canary_behind(const void* p, size_t size) {
  uint64_t word;
  memcpy(&word, (const char*)opaque(p) + size, sizeof word);
  return word;
}

/* Four ways to resize a block in place; NULL: it has to move. */
typedef void* resize_t(void* p, size_t size);
static void* resize_plainly(void* p, size_t size) { return mi_realloc(p, size); }
static void* resize_zeroing(void* p, size_t size) { return mi_rezalloc(p, size); }
static void* resize_aligned(void* p, size_t size) { return mi_realloc_aligned(p, size, 16); }
static void* resize_expanding(void* p, size_t size) { return mi_expand(p, size); }

/* In steps, for as long as the block stays; all that it gains must be zero, from the first step on
 * which follows a smaller size. */
static void grow(size_t size, resize_t* resize, const char* name) {
  char* p = (char*)mi_malloc(size + size / 16 + 3);
  REQUIRE(p != NULL);
  memset(p, 'A', size + size / 16 + 3);
  char* q = (char*)resize(p, size); /* what is cut off is filled */
  if (q != p && q != NULL) {
    mi_free(q);
    return;
  }
  size_t had = mi_usable_size(p);
  for (int step = 1; step < 200; step++) {
    size_t wanted = had + (size < 1000 ? 1 : size / 90);
    q = (char*)resize(p, wanted);
    if (q != p) break;
    for (size_t i = had; i < wanted; i++) {
      if (!CHECK_EQ(p[i], 0)) {
        check_note("%s, %zu bytes grown to %zu, byte %zu\n", name, had, wanted, i);
        break;
      }
    }
    memset(p, 'A', wanted);
    had = wanted;
  }
  mi_free(q != NULL ? q : p);
}

static void blocks_that_grow_in_place_show_nothing_of_a_canary(void) {
  static const size_t sizes[] = {1,    8,     17,    41,    100,    900,
                                 5000, 20000, 60000, 70000, 300000, 5 * MIB};
  if (!CANARIES) return;
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    grow(sizes[i], &resize_plainly, "mi_realloc");
    grow(sizes[i], &resize_zeroing, "mi_rezalloc");
    grow(sizes[i], &resize_aligned, "mi_realloc_aligned");
    grow(sizes[i], &resize_expanding, "mi_expand");
  }
  /* One with much padding, for its alignment. */
  char* p = (char*)mi_memalign(512, 1);
  char* q = (char*)mi_realloc(p, 500);
  if (q == p) CHECK(all_bytes_are(p + 1, 499, 0));
  mi_free(q);
}

enum { KEPT = 3000, KEPT_SIZE = 56 };
static char* kept[KEPT];
static uint64_t canaries[KEPT];
static int by_value(const void* a, const void* b) {
  uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}
static void keep_blocks_and_their_canaries(void) {
  for (size_t i = 0; i < KEPT; i++) {
    kept[i] = (char*)mi_malloc(KEPT_SIZE);
    REQUIRE(kept[i] != NULL);
    memset(kept[i], 'S', KEPT_SIZE);
    canaries[i] = canary_behind(kept[i], KEPT_SIZE);
  }
}
static void free_kept(void) {
  for (size_t i = 0; i < KEPT; i++) mi_free(kept[i]);
  mi_collect(false); /* pages are given back, with what is in them */
}

/* A page has another key in its next life: canaries that an attacker knows are void.
 */
static void canaries_of_a_place_change_with_the_life_of_its_page(void) {
  static char* before[KEPT];
  static uint64_t then[KEPT];
  size_t same_place = 0, same_canary = 0;
  if (!CANARIES) return;
  keep_blocks_and_their_canaries();
  memcpy(before, kept, sizeof kept);
  memcpy(then, canaries, sizeof canaries);
  for (size_t i = 0; i < KEPT; i++) mi_free(kept[i]);
  mi_collect(true);
  keep_blocks_and_their_canaries();
  for (size_t i = 0; i < KEPT; i++) {
    for (size_t k = 0; k < KEPT; k++) {
      if (before[i] != kept[k]) continue;
      same_place++;
      same_canary += then[i] == canaries[k];
    }
  }
  check_note("%zu blocks where one was before\n", same_place);
  CHECK_GE(same_place, KEPT / 10);
  CHECK_EQ(same_canary, 0);
  free_kept();
}

/* The upper half of a canary depends on the secret: no two blocks of a page have the same, and each
 * bit is set as often as not. */
static void canaries_look_like_noise(void) {
  if (!CANARIES) return;
  keep_blocks_and_their_canaries();
  size_t set[32] = {0};
  for (size_t i = 0; i < KEPT; i++)
    for (size_t bit = 0; bit < 32; bit++) set[bit] += canaries[i] >> (32 + bit) & 1;
  for (size_t bit = 0; bit < 32; bit++) {
    /* Six standard deviations of 3,000 throws of a coin are 164. */
    CHECK_GE(set[bit], KEPT / 2 - 200);
    CHECK_LE(set[bit], KEPT / 2 + 200);
  }
  qsort(canaries, KEPT, sizeof canaries[0], &by_value);
  size_t twice = 0;
  for (size_t i = 1; i < KEPT; i++) twice += canaries[i] == canaries[i - 1];
  CHECK_LE(twice, 1); /* by chance one in 1,000 runs */
  free_kept();
}

/* ---- processes ----------------------------------------------------------------------------- */

enum { PLACES = 600, WARM_SIZE = 72, NEW_SIZE = 3000, CHILDREN = 2 };
typedef struct seen_s {
  char* place[PLACES]; /* with lists of the parent, without, and after some frees */
  char* fresh;         /* of a class that the parent did not use */
  uint64_t canary;
} seen_t;

static void look_at_places(seen_t* seen) {
  for (size_t i = 0; i < 200; i++) seen->place[i] = (char*)mi_malloc(WARM_SIZE);
  for (size_t i = 0; i < 200; i++) seen->place[200 + i] = (char*)mi_malloc(1000);
  for (size_t i = 0; i < 150; i++) mi_free(seen->place[i]);
  for (size_t i = 0; i < 200; i++) seen->place[400 + i] = (char*)mi_malloc(WARM_SIZE);
}

/* All blocks of a page, until it is one that another child has, too. */
static void look_at_canary(seen_t* seen, uintptr_t place) {
  for (int i = 0; i < 100; i++) {
    char* p = (char*)mi_malloc(NEW_SIZE);
    REQUIRE(p != NULL);
    if (place != 0 && (uintptr_t)p != place) continue;
    seen->fresh = p;
    seen->canary = CANARIES ? canary_behind(p, mi_good_size(NEW_SIZE)) : 0;
    return;
  }
}

/* `make` makes a process as fork does. */
static void look_in_child(pid_t (*make)(void), uintptr_t place, seen_t* seen) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  pid_t pid = make();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    memset(seen, 0, sizeof *seen);
    look_at_places(seen);
    look_at_canary(seen, place);
    REQUIRE(write(ends[1], seen, sizeof *seen) == (ssize_t)sizeof *seen);
    _exit(0);
  }
  close(ends[1]);
  size_t got = 0;
  for (ssize_t n; (n = read(ends[0], (char*)seen + got, sizeof *seen - got)) > 0;) got += (size_t)n;
  close(ends[0]);
  check_wait_ok(pid, "child");
  REQUIRE(got == sizeof *seen);
}

static size_t same_places(const seen_t* a, const seen_t* b, size_t from) {
  size_t same = 0;
  for (size_t i = from; i < PLACES; i++) same += a->place[i] == b->place[i];
  return same;
}

static seen_t children[CHILDREN];
static void look_in_children(pid_t (*make)(void)) {
  for (int i = 0; i < 50; i++) REQUIRE(mi_malloc(WARM_SIZE) != NULL);
  look_in_child(make, 0, &children[0]);
  look_in_child(make, (uintptr_t)children[0].fresh, &children[1]);
}

/* A server that forks for each connection: what one child learns tells nothing of the next. */
static void children_of_one_parent_lay_out_their_heaps_differently(void) {
  if (!RANDOM_ORDER) return;
  look_in_children(&fork);
  size_t same = same_places(&children[0], &children[1], 0);
  check_note("%zu of %d addresses are the same in both children\n", same, PLACES);
  CHECK_LE(same, PLACES / 10); /* 600 where they share their randomness; by chance some 20 */
}

static void children_of_one_parent_have_keys_of_their_own(void) {
  if (!CANARIES) return;
  look_in_children(&fork);
  if (!CHECK(children[1].fresh == children[0].fresh)) return;
  CHECK(children[0].canary != children[1].canary);
}

/* Without the handlers of fork. What is on free lists stays where it is. */
static pid_t fork_without_handlers(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static void children_without_fork_handlers_are_noticed(void) {
#if defined(__linux__) && defined(SYS_clone) && !defined(__s390__)
  enum { WIPE_ON_FORK = 18 };
  char* page =
      (char*)mmap(NULL, OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  if (!RANDOM_ORDER || madvise(page, OS_PAGE, WIPE_ON_FORK) != 0) return;
  look_in_children(&fork_without_handlers);
  size_t same = same_places(&children[0], &children[1], 200);
  check_note("%zu of %d addresses are the same in both children\n", same, PLACES - 200);
  CHECK_LE(same, (PLACES - 200) / 4);
  if (CANARIES && CHECK(children[1].fresh == children[0].fresh))
    CHECK(children[0].canary != children[1].canary);
#endif
}

/* A parent goes on with another key as well: its children do not know what it does next. */
static void blocks_of_the_parent_stay_valid_in_both(void) {
  static char* blocks[2000];
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    blocks[i] = (char*)mi_malloc(1 + i % 900);
    REQUIRE(blocks[i] != NULL);
    blocks[i][0] = (char)i;
  }
  for (size_t i = 0; i < COUNT_OF(blocks); i += 3) mi_free(blocks[i]);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 1; i < COUNT_OF(blocks); i++) {
      if (i % 3 == 0) continue;
      CHECK_EQ(blocks[i][0], (char)i);
      blocks[i] = (char*)mi_realloc(blocks[i], 1 + (i * 7 + (size_t)round * 50) % 1200);
      REQUIRE(blocks[i] != NULL);
    }
  }
  for (size_t i = 1; i < COUNT_OF(blocks); i++)
    if (i % 3 != 0) mi_free(blocks[i]);
  mi_collect(true);
  if (pid == 0) _exit(check_end());
  check_wait_ok(pid, "child");
}

/* ---- a system without random numbers -------------------------------------------------------- */

static char output[4096];

static void helper_places(void) {
  void* p = mi_malloc(1000);
  check_note("%p\n", p);
  mi_free(p);
}
static bool refuse_random_numbers(void) {
#if HAS_SECCOMP && defined(SYS_getrandom)
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {COUNT_OF(code), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
#else
  return false;
#endif
}
static int count_of(const char* text, const char* what) {
  int n = 0;
  while ((text = strstr(text, what)) != NULL) n++, text++;
  return n;
}
static void missing_random_numbers_are_said_once_and_replaced(void) {
  static const char warning[] = "the system gives no random numbers";
  const char* args[] = {"helper_places", NULL};
  char places[2][64];
  if (UNDER_ADDRESS_SANITIZER || UNDER_THREAD_SANITIZER) return; /* they choose the addresses */
  REQUIRE(setenv("MIMALLOC_SHOW_ERRORS", "1", 1) == 0);
  (void)check_capture_self(args, true, output, sizeof output);
  CHECK_EQ(count_of(output, warning), 0);
  if (!refuse_random_numbers()) {
    check_note("skipped: no filter of system calls\n");
    return;
  }
  (void)check_capture_self(args, true, output, sizeof output);
  CHECK_EQ(count_of(output, warning), 1);
  for (int i = 0; i < 2; i++) {
    int status = check_capture_self(args, false, places[i], sizeof places[i]);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  CHECK(strcmp(places[0], places[1]) != 0);
}

/* ---- the quarantine -------------------------------------------------------------------------- */

enum { THREADS_MAX = 200, BLOCKS = 300, SIZE = 2000 };
static pthread_barrier_t all_here;
static size_t resident_before, live_before;

static size_t live_bytes(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return (size_t)stats.malloc_normal.current;
}

static void* fill_and_wait(void* arg) {
  static __thread void* blocks[BLOCKS];
  (void)arg;
  for (int i = 0; i < BLOCKS; i++) {
    blocks[i] = mi_malloc(SIZE);
    REQUIRE(blocks[i] != NULL);
    memset(blocks[i], 1, SIZE);
  }
  for (int i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
  mi_collect(false); /* the rest is in quarantine and counts as live */
  pthread_barrier_wait(&all_here);
  pthread_barrier_wait(&all_here);
  return NULL;
}

/* Calls `look` while so many threads wait that have each freed what they had. */
static void with_threads(size_t count, void (*look)(size_t count)) {
  static pthread_t threads[THREADS_MAX];
  pthread_attr_t attr;
  mi_collect(true);
  resident_before = rss_bytes();
  live_before = live_bytes();
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 128 * KIB) == 0);
  REQUIRE(pthread_barrier_init(&all_here, NULL, (unsigned)count + 1) == 0);
  for (size_t i = 0; i < count; i++)
    REQUIRE(pthread_create(&threads[i], &attr, &fill_and_wait, NULL) == 0);
  pthread_barrier_wait(&all_here);
  look(count);
  pthread_barrier_wait(&all_here);
  for (size_t i = 0; i < count; i++) thread_join(threads[i]);
}

/* The bound is for the process: 8 MiB at level 4, 4 MiB at level 3, and 16 KiB for each thread. A
 * thread alone has no more of the MiB than a fifth. */
static void look_at_quarantine(size_t count) {
  size_t shared = (MI_TEST_SECURE >= 4 ? 8 : 4) * MIB;
  size_t bound = (count == 1 ? shared / 5 : shared) + count * 16 * KIB;
  size_t waits = live_bytes() - live_before, resident = rss_bytes() - resident_before;
  check_note("%3zu threads: %.2f MiB in quarantine, of %.2f; %.1f MiB more are resident\n", count,
             (double)waits / (double)MIB, (double)bound / (double)MIB,
             (double)resident / (double)MIB);
  CHECK_LE(waits, bound);
  CHECK_GE(waits, count * (16 * KIB - SIZE)); /* and each thread has some */
  CHECK_LE(resident, 40 * MIB);
}
static void quarantine_is_bounded_for_the_process(void) {
  if (!QUARANTINE) return;
  mi_option_set(mi_option_purge_delay, 0);
  with_threads(1, &look_at_quarantine);
  with_threads(64, &look_at_quarantine);
  with_threads(200, &look_at_quarantine);
}

/* The number of frees that a block waits for cannot be foreseen, with any number of threads. */
static void look_at_delays(size_t count) {
  enum { TRIALS = 300, LONGEST = 20000 };
  static int times[LONGEST];
  double sum = 0;
  int most = 0;
  memset(times, 0, sizeof times);
  for (int i = 0; i < 3000; i++) mi_free(mi_malloc(SIZE));
  for (int trial = 0; trial < TRIALS; trial++) {
    void* p = mi_malloc(SIZE);
    mi_free(p);
    int k = 1;
    for (void* q; k < LONGEST; k++) {
      q = mi_malloc(SIZE);
      mi_free(q);
      if (q == p) break;
    }
    REQUIRE(k < LONGEST);
    sum += k;
    if (++times[k] > most) most = times[k];
  }
  check_note("%3zu threads: a block is back after %.0f frees in the mean, %d of %d after the same "
             "number\n",
             count, sum / TRIALS, most, TRIALS);
  CHECK_GE(sum / TRIALS, 8);
  CHECK_LE(most, TRIALS / 5);
}
static void freed_blocks_come_back_at_no_foreseen_time(void) {
  if (!QUARANTINE) return;
  with_threads(1, &look_at_delays);
  with_threads(64, &look_at_delays);
  with_threads(200, &look_at_delays);
}

/* Also in that of a thread that has never allocated. */
static void* free_and_wait(void* p) {
  mi_free(p);
  pthread_barrier_wait(&all_here);
  pthread_barrier_wait(&all_here);
  return NULL;
}
static void a_thread_that_only_frees_has_a_quarantine(void) {
  enum { SEEN = 3000, OTHER_SIZE = 24 };
  size_t again = 0;
  if (!QUARANTINE) return;
  void* p = mi_malloc(OTHER_SIZE);
  REQUIRE(p != NULL && pthread_barrier_init(&all_here, NULL, 2) == 0);
  pthread_t thread = thread_start(&free_and_wait, p);
  pthread_barrier_wait(&all_here);
  for (int i = 0; i < SEEN; i++) again += mi_malloc(OTHER_SIZE) == p;
  CHECK_EQ(again, 0);
  pthread_barrier_wait(&all_here);
  thread_join(thread);
}

/* The quarantine of an ended thread is freed: its pages are given back. */
static size_t pages_in_use(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return (size_t)stats.pages.current;
}
static void* use_all_sizes(void* arg) {
  for (size_t size = 1; size < 70000; size += size / 5 + 1) mi_free(mi_malloc(size));
  return arg;
}
static void ended_threads_leave_nothing_in_quarantine(void) {
  thread_join(
      thread_start(&use_all_sizes, NULL)); /* what the C library keeps for threads is there */
  size_t before = pages_in_use();
  for (int i = 0; i < 20; i++) thread_join(thread_start(&use_all_sizes, NULL));
  CHECK_LE(pages_in_use(), before);
}

/* ---- children of a process with threads ---- */

enum { GENERATIONS = 40 };

/* Stops a thread inside the library, where it asks the system for a guard. */
static bool stops_inside;
static void stop_inside(void) {
  if (!__atomic_exchange_n(&stops_inside, false, __ATOMIC_ACQ_REL)) return;
  pthread_barrier_wait(&all_here);
  for (;;) pause();
}
int __real_mprotect(void* addr, size_t size, int prot);
int __real_madvise(void* addr, size_t size, int advice);
int __wrap_mprotect(void* addr, size_t size, int prot);
int __wrap_madvise(void* addr, size_t size, int advice);
int __wrap_mprotect(void* addr, size_t size, int prot) {
  if (prot == PROT_NONE) stop_inside(); /* else an arena opens memory, under a lock */
  return __real_mprotect(addr, size, prot);
}
int __wrap_madvise(void* addr, size_t size, int advice) {
  if (advice != MADV_DODUMP) stop_inside();
  return __real_madvise(addr, size, advice);
}

/* In the child of a fork the quarantine of such a thread is lost. */
static void* fill_quarantine_and_stop(void* arg) {
  enum { MANY = 3000 };
  static void* many[MANY];
  for (int i = 0; i < MANY; i++) many[i] = mi_malloc(SIZE);
  for (int i = 0; i < MANY; i++) mi_free(many[i]);
  __atomic_store_n(&stops_inside, true, __ATOMIC_RELEASE);
  while (mi_malloc(60000) != NULL) {
  }
  return arg;
}

static size_t waits;
static void note_quarantine(size_t count) {
  waits = live_bytes() - live_before;
  check_note("%zu thread: %zu KiB in quarantine\n", count, waits / KIB);
}

/* Each lost thread has drawn credit that all threads share; that comes back. */
static void quarantine_of_a_child_is_as_large_as_its_parents(void) {
  if (!QUARANTINE) return;
  with_threads(1, &note_quarantine);
  size_t first = waits;
  for (int generation = 0; generation < GENERATIONS; generation++) {
    REQUIRE(pthread_barrier_init(&all_here, NULL, 2) == 0);
    (void)thread_start(&fill_quarantine_and_stop, NULL);
    pthread_barrier_wait(&all_here);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child > 0) {
      check_wait_ok(child, "child");
      _exit(check_end());
    }
  }
  with_threads(1, &note_quarantine);
  CHECK_GE(waits, first / 4 * 3);
  _exit(check_end());
}

/* Freed blocks that are pages of their own keep their addresses in quarantine, at most an eighth of
 * an arena: a program that frees many large blocks needs no further arena. */
static size_t reserved_bytes(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return (size_t)stats.reserved.current;
}
static void freed_large_blocks_hold_few_addresses(void) {
  enum { ROUNDS = 300, LARGE = 24 };
  mi_free(mi_malloc(LARGE * MIB));
  size_t before = reserved_bytes();
  for (int i = 0; i < ROUNDS; i++) {
    char* p = (char*)mi_malloc(LARGE * MIB);
    REQUIRE(p != NULL);
    p[0] = 1;
    mi_free(p);
  }
  CHECK_LE(reserved_bytes(), before);
}

static const check_case_t cases[] = {
    CASE(blocks_that_grow_in_place_show_nothing_of_a_canary),
    CASE(canaries_of_a_place_change_with_the_life_of_its_page),
    CASE(canaries_look_like_noise),
    CASE(children_of_one_parent_lay_out_their_heaps_differently),
    CASE(children_of_one_parent_have_keys_of_their_own),
    CASE(children_without_fork_handlers_are_noticed),
    CASE(blocks_of_the_parent_stay_valid_in_both),
    CASE(missing_random_numbers_are_said_once_and_replaced),
    CASE(quarantine_is_bounded_for_the_process),
    CASE(freed_blocks_come_back_at_no_foreseen_time),
    CASE(a_thread_that_only_frees_has_a_quarantine),
    CASE(ended_threads_leave_nothing_in_quarantine),
    CASE(freed_large_blocks_hold_few_addresses),
    CASE(quarantine_of_a_child_is_as_large_as_its_parents),
};
static const check_case_t helpers[] = {CASE(helper_places)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
