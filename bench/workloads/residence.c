/* residence.c - how much memory stays resident, in programs that free, rest, or use little of what
 * they ask for.
 *
 * Usage:  residence PATTERN [ARGUMENT...]
 * Prints `at MILLISECONDS KIB` for each look at the resident memory and, last, `stays KIB`: what
 * the pattern leaves. Between its phases a pattern makes no call of malloc, so that only what an
 * allocator does by itself counts. A look reads /proc without the C library's buffers.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <fcntl.h>
#include <stdbool.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)

/* ---- looking ---- */

static size_t read_file(const char* path, char* text, size_t size) {
  size_t length = 0;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  for (ssize_t n;
       file >= 0 && length < size - 1 && (n = read(file, text + length, size - 1 - length)) > 0;)
    length += (size_t)n;
  if (file >= 0) close(file);
  text[length] = 0;
  return length;
}

static size_t resident_kib(void) {
  char text[128];
  if (read_file("/proc/self/statm", text, sizeof text) == 0) bench_die("no /proc/self/statm");
  return strtoul(strchr(text, ' ') + 1, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) / KIB;
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t started;

static size_t look(void) {
  size_t kib = resident_kib();
  char line[64];
  int n =
      snprintf(line, sizeof line, "at %llu %zu\n", (unsigned long long)(now_ms() - started), kib);
  if (write(STDOUT_FILENO, line, (size_t)n) != n) bench_die("cannot write");
  return kib;
}

/* Rests, looks now and then, and returns the last look. */
static size_t rest(unsigned ms) {
  size_t kib = 0;
  for (unsigned t = 0; t < ms; t += 50) {
    usleep(50000);
    kib = look();
  }
  return kib;
}

/* ---- threads that work in phases and stay alive ---- */

enum { THREADS_MAX = 512 };
typedef void phase_fun(size_t thread);

static struct {
  pthread_barrier_t begin, end;
  phase_fun* phase; /* NULL: the threads end */
  size_t count;
  pthread_t threads[THREADS_MAX];
} team;

static void* member(void* number) {
  for (;;) {
    pthread_barrier_wait(&team.begin);
    if (team.phase == NULL) return NULL;
    team.phase((size_t)(uintptr_t)number);
    pthread_barrier_wait(&team.end);
  }
}

static void team_start(size_t count) {
  team.count = count;
  pthread_barrier_init(&team.begin, NULL, (unsigned)count + 1);
  pthread_barrier_init(&team.end, NULL, (unsigned)count + 1);
  for (size_t i = 0; i < count; i++)
    if (pthread_create(&team.threads[i], NULL, member, (void*)(uintptr_t)i) != 0)
      bench_die("no thread");
}

static void team_do(phase_fun* phase) {
  team.phase = phase;
  pthread_barrier_wait(&team.begin);
  pthread_barrier_wait(&team.end);
  look();
}

/* ---- blocks in tables, one for each thread ---- */

enum { TABLES = 4 };
static struct {
  char** block[TABLES];
  size_t count[TABLES];
  size_t least, most, total; /* bytes: of a block, and of all blocks of a table */
} blocks;

static void* mapped(size_t size) {
  void* p =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) bench_die("no memory for a table");
  return p;
}

static void blocks_init(size_t least, size_t most, size_t total) {
  blocks.least = least, blocks.most = most, blocks.total = total;
  for (size_t t = 0; t < TABLES; t++) blocks.block[t] = mapped(total / least * sizeof(char*));
}

static void fill(size_t t) {
  struct rng rng = rng_new(t);
  size_t count = 0;
  for (size_t bytes = 0; bytes < blocks.total;) {
    size_t size = rng_between(&rng, blocks.least, blocks.most);
    char* p = blocks.block[t][count++] = bench_alloc(size);
    memset(p, 1, size);
    bytes += size;
  }
  blocks.count[t] = count;
}

static void empty(size_t t) {
  for (size_t i = 0; i < blocks.count[t]; i++) free(blocks.block[t][i]);
}

/* Frees a quarter of each table, so that no thread frees only its own blocks. */
static void empty_shares(size_t t) {
  for (size_t i = t; i < blocks.count[0]; i += TABLES) free(blocks.block[0][i]);
}

static void empty_most(size_t t) {
  struct rng rng = rng_new(t + 100);
  for (size_t i = 0; i < blocks.count[t]; i++)
    if (rng_between(&rng, 1, 20) != 1) free(blocks.block[t][i]);
}

/* ---- freed, then silence ---- */

static size_t silence_one(void) {
  blocks_init(16, 1024, 300 * MIB);
  fill(0);
  look();
  empty(0);
  look();
  return rest(1000);
}

static size_t silence_four(void) {
  blocks_init(16, 1024, 75 * MIB);
  team_start(4);
  team_do(fill);
  team_do(empty);
  return rest(1000);
}

static void fill_first(size_t t) {
  if (t == 0) fill(0);
}
static void empty_others(size_t t) {
  if (t != 0) empty_shares(t - 1);
}
static size_t silence_producer(void) {
  blocks_init(16, 1024, 200 * MIB);
  team_start(5);
  team_do(fill_first);
  team_do(empty_others);
  return rest(1000);
}

static size_t holes(void) {
  blocks_init(512, 2048, 75000 * (512 + 2048) / 2);
  team_start(4);
  team_do(fill);
  team_do(empty_most);
  return rest(2000);
}

static size_t holes_asked(void) {
  (void)holes();
  int (*trim)(size_t) = NULL;
  void (*collect)(bool) = NULL;
  *(void**)&collect = dlsym(RTLD_DEFAULT, "mi_collect");
  *(void**)&trim = dlsym(RTLD_DEFAULT, "malloc_trim");
  if (collect != NULL)
    collect(true);
  else if (trim != NULL)
    (void)trim(0);
  return look();
}

enum { SIZES = 200, SIZE_STEP = 40 };
static void use_sizes(size_t t) {
  (void)t;
  char* block[SIZES];
  for (size_t i = 0; i < SIZES; i++)
    memset(block[i] = bench_alloc((i + 1) * SIZE_STEP), 1, (i + 1) * SIZE_STEP);
  for (size_t i = 0; i < SIZES; i++) free(block[i]);
}
static size_t sleepers(void) {
  team_start(THREADS_MAX);
  team_do(use_sizes);
  return rest(1000);
}

/* ---- a shared cache with a limit in bytes, in which any thread evicts ---- */

enum { CACHE_LOCKS = 256, CACHE_OPERATIONS = 6000000, CACHE_LOOKS = 10 };
static struct {
  pthread_mutex_t lock[CACHE_LOCKS];
  char** entry;
  uint32_t* size;
  size_t entries, limit, operations;
  _Atomic(size_t) bytes;
  bool same; /* the sizes stay the same, else they grow fourfold */
} cache;

static void cache_put(size_t i, char* block, uint32_t size) {
  pthread_mutex_t* lock = &cache.lock[i % CACHE_LOCKS];
  pthread_mutex_lock(lock);
  char* old = cache.entry[i];
  cache.bytes += size - (old == NULL ? 0 : (size_t)cache.size[i]);
  cache.entry[i] = block;
  cache.size[i] = size;
  pthread_mutex_unlock(lock);
  free(old);
}

static void use_cache(size_t t) {
  struct rng rng = rng_new(t + 7);
  for (size_t n = 0; n < cache.operations; n++) {
    size_t growth = cache.same ? 1000 : 400 + n * 4000 / cache.operations;
    size_t size = 32 + rng_between(&rng, 0, 1000) * growth / 1000;
    char* block = bench_alloc(size);
    memset(block, 1, size);
    cache_put(rng_between(&rng, 0, cache.entries - 1), block, (uint32_t)size);
    while (cache.bytes > cache.limit) cache_put(rng_between(&rng, 0, cache.entries - 1), NULL, 0);
    if (t == 0 && n % (cache.operations / CACHE_LOOKS) == 0) look();
  }
}

static size_t cached(size_t threads, size_t mib, bool same) {
  cache.limit = mib * MIB;
  cache.same = same;
  cache.entries = cache.limit / (same ? 270 : 1600);
  cache.operations = CACHE_OPERATIONS / threads * mib / 100;
  cache.entry = mapped(cache.entries * sizeof(char*));
  cache.size = mapped(cache.entries * sizeof(uint32_t));
  for (size_t i = 0; i < CACHE_LOCKS; i++) pthread_mutex_init(&cache.lock[i], NULL);
  team_start(threads);
  team_do(use_cache);
  return look();
}

/* ---- free memory in the wrong place: of other threads, of other sizes ---- */

enum { TURN_THREADS = 8, TURNS = 32 };
static size_t turn;
static struct {
  char** block;
  size_t count;
} built[TURN_THREADS];

/* So many MiB of blocks of one size, which changes from turn to turn. */
static void build(size_t t, size_t mib) {
  static const size_t sizes[] = {64, 112, 208, 464, 1040};
  size_t size = sizes[turn / 2 % (sizeof sizes / sizeof sizes[0])], count = mib * MIB / size;
  char** block = bench_alloc(count * sizeof(char*));
  for (size_t i = 0; i < count; i++) memset(block[i] = bench_alloc(size), 1, size);
  built[t].block = block;
  built[t].count = count;
}

static void demolish(size_t t, size_t one_of, bool all_but) {
  struct rng rng = rng_new(turn);
  for (size_t i = 0; i < built[t].count; i++)
    if ((rng_between(&rng, 1, one_of) == 1) != all_but) {
      free(built[t].block[i]);
      built[t].block[i] = NULL;
    }
}

static void demolish_rest(size_t t) {
  for (size_t i = 0; i < built[t].count; i++) free(built[t].block[i]);
  free(built[t].block);
  built[t].block = NULL;
  built[t].count = 0;
}

static void build_and_keep_a_tenth(size_t t) {
  if (t != turn % TURN_THREADS) return;
  build(t, 48);
  demolish(t, 10, true);
  free(built[t].block);
}

static void build_after_others(size_t t) {
  if (t != turn % TURN_THREADS) return;
  build(t, 32);
  demolish((t + TURN_THREADS - 1) % TURN_THREADS, 8, true);
  demolish_rest((t + TURN_THREADS - 3) % TURN_THREADS);
}

static size_t take_turns(phase_fun* phase) {
  team_start(TURN_THREADS);
  for (turn = 0; turn < TURNS; turn++) team_do(phase);
  return rest(500);
}
static size_t turns(void) { return take_turns(build_and_keep_a_tenth); }
static size_t handed(void) { return take_turns(build_after_others); }

/* A table of lines in which any thread overwrites any line; their sizes change in waves. */
enum { LINES = 200000, LINE_WRITES = 2000000 };
static struct {
  _Atomic(char*) line[LINES];
  _Atomic(size_t) next;
} ring;

static void write_lines(size_t t) {
  struct rng rng = rng_new(t + 9);
  for (size_t i = 0; i < LINE_WRITES; i++) {
    size_t size = 40 + rng_between(&rng, 0, i % 100000 < 50000 ? 160 : 600);
    char* line = memset(bench_alloc(size), 1, size);
    free(atomic_exchange(&ring.line[atomic_fetch_add(&ring.next, 1) % LINES], line));
  }
}
static size_t lines(void) {
  team_start(2);
  team_do(write_lines);
  return rest(500);
}

/* A store of short strings: replaced by longer ones, four of five removed, other values put in. */
static size_t store(void) {
  enum { ENTRIES = 700000 };
  char** entry = mapped(ENTRIES * sizeof(char*));
  struct rng rng = rng_new(11);
  for (size_t n = 0; n < ENTRIES * 13 / 4; n++) {
    size_t wave = n < ENTRIES ? 0 : 1 + (n - ENTRIES) / (ENTRIES / 2);
    size_t i = wave == 0 ? n : rng_between(&rng, 0, ENTRIES - 1);
    size_t size = wave == 0   ? 40 + rng_between(&rng, 0, 80)
                  : wave <= 4 ? 60 + rng_between(&rng, 0, 120 + 80 * wave)
                              : 200 + rng_between(&rng, 0, 300);
    if (n == ENTRIES * 3)
      for (size_t k = 0; k < ENTRIES; k++)
        if (rng_between(&rng, 1, 5) != 1) {
          free(entry[k]);
          entry[k] = NULL;
        }
    free(entry[i]);
    memset(entry[i] = bench_alloc(size), 1, size);
  }
  return rest(500);
}

/* A pool of threads, each of which served some requests. */
static void serve(size_t t) {
  enum { REQUESTS = 20, BLOCKS = 100 };
  struct rng rng = rng_new(t + 31);
  char* block[BLOCKS];
  for (size_t request = 0; request < REQUESTS; request++) {
    for (size_t i = 0; i < BLOCKS; i++) {
      size_t size = (size_t)16 << rng_between(&rng, 0, 11);
      size += rng_between(&rng, 0, size);
      memset(block[i] = bench_alloc(size), 1, size);
    }
    for (size_t i = 0; i < BLOCKS; i++) free(block[i]);
  }
}
static size_t pool(void) {
  team_start(300);
  team_do(serve);
  return rest(500);
}

/* One thread loads 400 MiB and frees nine tenths; four others need 300 MiB of the same sizes. */
static void fill_and_keep(size_t t) {
  struct rng rng = rng_new(t);
  for (size_t bytes = 0, size; bytes < 75 * MIB; bytes += size) {
    size = rng_between(&rng, 32, 231);
    memset(bench_alloc(size), 1, size);
  }
}
static size_t loader(void) {
  blocks_init(32, 231, 400 * MIB);
  fill(0);
  struct rng rng = rng_new(1);
  for (size_t i = 0; i < blocks.count[0]; i++)
    if (rng_between(&rng, 1, 10) != 1) free(blocks.block[0][i]);
  look();
  team_start(4);
  team_do(fill_and_keep);
  return rest(500);
}

/* ---- large blocks, little of them used ---- */

static size_t sparse(void) {
  volatile char* p = bench_zeroed(1, KIB * MIB);
  for (size_t i = 0; i < KIB * MIB; i += 2 * MIB) p[i] = 1;
  return look();
}

static size_t stacks(void) {
  enum { COUNT = 200 };
  for (size_t i = 0; i < COUNT; i++)
    memset((char*)bench_alloc(8 * MIB) + 8 * MIB - 8 * KIB, 1, 8 * KIB);
  return look();
}

static size_t shrunk(void) {
  enum { COUNT = 20 };
  char* block[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    memset(block[i] = bench_alloc(40 * MIB), 1, 40 * MIB);
    block[i] = bench_resize(block[i], 21 * MIB);
  }
  return rest(200);
}

/* ---- the process as others see it ---- */

static size_t locked(void) {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) bench_die("mlockall is refused");
  *(volatile char*)bench_alloc(100) = 1;
  return look();
}

/* Bytes of a core file that gdb writes: private memory without a file and without advice against
 * it. */
static size_t core_file(void) {
  static char text[MIB];
  for (size_t bytes = 0; bytes < MIB; bytes += KIB) memset(bench_alloc(KIB), 1, KIB);
  look();
  size_t total = 0, size = 0;
  read_file("/proc/self/smaps", text, sizeof text);
  for (char* line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    size_t from, to;
    char access[5];
    unsigned long inode;
    if (sscanf(line, "%zx-%zx %4s %*s %*s %lu", &from, &to, access, &inode) == 4)
      size = access[3] == 'p' && inode == 0 ? to - from : 0;
    else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dd") == NULL)
      total += size;
  }
  return total / KIB;
}

int main(int argc, char** argv) {
  bench_start();
  started = now_ms();
  look();
  const char* name = argc > 1 ? argv[1] : "";
  const struct {
    const char* name;
    size_t (*run)(void);
  } patterns[] = {{"one", silence_one}, {"four", silence_four}, {"producer", silence_producer},
                  {"holes", holes},     {"asked", holes_asked}, {"sleepers", sleepers},
                  {"sparse", sparse},   {"stacks", stacks},     {"shrunk", shrunk},
                  {"locked", locked},   {"core", core_file},    {"turns", turns},
                  {"handed", handed},   {"lines", lines},       {"store", store},
                  {"pool", pool},       {"loader", loader}};
  size_t kib = SIZE_MAX;
  if (strcmp(name, "cache") == 0)
    kib = cached(bench_arg(argc, argv, 2, 4), bench_arg(argc, argv, 3, 100), argc > 4);
  for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
    if (strcmp(name, patterns[i].name) == 0) kib = patterns[i].run();
  if (kib == SIZE_MAX) bench_die("no such pattern");
  printf("stays %zu\n", kib);
  fflush(stdout);
  _exit(0);
}
