/* long_run.c - a server that runs for long: its resident memory must not grow with time.
 *
 * Four threads allocate for requests and for sessions. A request's block lives 2^u ticks with a
 * random u (a heavy tail: all powers of two are equally likely); a session lives about 100,000
 * ticks, so that sessions of all phases lie side by side. Phases change the mix of sizes. In the
 * mixed phase half of the blocks are freed by another thread. After each phase all threads sleep
 * for a defined time; then resident memory is compared with that after the same phase of the first
 * cycle. In each cycle one thread ends and leaves its blocks to a new one. Before the first cycle
 * the server starts with a mixed phase: a fresh process has its blocks side by side, and needs a
 * tenth less.
 *
 * Seeds and lifetimes are fixed and no request lives longer than the next phase, so what is live
 * after a phase is nearly the same in each cycle. 10^7 operations; CTEST_SCALE multiplies the
 * cycles, and `ci/steps.sh long_run` makes it 10^9.
 */
#include "probe.h"
#include <mimalloc.h>
#include <stdatomic.h>

#define THREADS 4
#define CYCLES 3
#define BUSY_MACHINE 5 /* seconds until the purger has a processor */
#define SESSIONS 4000
#define INBOX 256
#define WHEEL ((size_t)1 << 17) /* the longest life of a request, in ticks */

typedef struct phase_s {
  const char* name;
  unsigned least, most; /* powers of two: size */
  unsigned life, ticks; /* powers of two */
  bool remote;
} phase_t;

/* No life is longer than the ticks of its own phase and of the next one. */
static const phase_t phases[] = {
    {"small", 4, 10, 17, 17, false},
    {"medium", 10, 14, 14, 17, false},
    {"large", 16, 19, 10, 14, false},
    {"mixed", 4, 15, 15, 17, true},
};
#define PHASES COUNT_OF(phases)

typedef struct block_s {
  struct block_s* next; /* that dies in the same tick, or waits in the same inbox */
  size_t size;
} block_t;

typedef struct worker_s {
  pthread_t thread;
  rng_t rng;
  size_t tick, operations;
  block_t** wheel;         /* of WHEEL ticks: the blocks that die then */
  block_t** session;       /* SESSIONS */
  _Atomic(block_t*) inbox; /* blocks for this thread to free */
  _Atomic(size_t) waiting; /* so many, or some more */
  size_t live;             /* bytes that it allocated less those that it freed */
} worker_t;

static worker_t worker[THREADS];
static pthread_barrier_t begin, worked, end;
static const phase_t* phase;
static worker_t* leaver; /* ends after the phase */
static size_t turns = 1;

/* ---- blocks ---- */

static size_t random_power(rng_t* rng, unsigned least, unsigned most) {
  size_t power = (size_t)1 << (least + rng_below(rng, most - least));
  return power + rng_below(rng, power);
}

static void block_fill(worker_t* w, block_t* b, size_t size) {
  REQUIRE(b != NULL);
  if (size <= OS_PAGE)
    memset(b, (int)(size & 0xff), size);
  else
    touch_pages(b, size);
  b->size = size;
  if (size > sizeof(*b)) ((unsigned char*)b)[size - 1] = (unsigned char)size;
  w->live += size;
  w->operations++;
}

static void block_lose(worker_t* w, const block_t* b) {
  size_t size = b->size;
  if (size > sizeof(*b)) CHECK(((const unsigned char*)b)[size - 1] == (unsigned char)size);
  w->live -= size;
  w->operations++;
}

static block_t* block_new(worker_t* w, size_t size) {
  block_t* b = (block_t*)mi_malloc(size);
  block_fill(w, b, size);
  return b;
}

static void block_free(worker_t* w, block_t* b) {
  block_lose(w, b);
  mi_free(b);
}

/* A thread that the system does not run has a full inbox: its blocks wait nowhere else. */
static bool block_send(worker_t* to, block_t* b) {
  if (to->waiting >= INBOX) return false;
  to->waiting++;
  b->next = to->inbox;
  while (!atomic_compare_exchange_weak(&to->inbox, &b->next, b)) {
  }
  return true;
}

static void free_inbox(worker_t* w) {
  block_t* b = atomic_exchange(&w->inbox, NULL);
  for (block_t* next; b != NULL; b = next) {
    next = b->next;
    block_free(w, b);
    w->waiting--;
  }
}

/* ---- the work of a thread ---- */

static void replace_session(worker_t* w) {
  block_t** at = &w->session[rng_below(&w->rng, SESSIONS)];
  size_t size = random_power(&w->rng, 4, 13);
  block_lose(w, *at);
  if (rng_below(&w->rng, 2) == 0) {
    *at = (block_t*)mi_realloc(*at, size);
    block_fill(w, *at, size);
  } else {
    mi_free(*at);
    *at = block_new(w, size);
  }
}

static void live_one_tick(worker_t* w) {
  block_t** now = &w->wheel[w->tick++ % WHEEL];
  block_t* dying = *now;
  *now = NULL;
  for (block_t* next; dying != NULL; dying = next) {
    next = dying->next;
    bool sent = phase->remote && rng_below(&w->rng, 2) == 0 &&
                block_send(&worker[rng_below(&w->rng, THREADS)], dying);
    if (!sent) block_free(w, dying);
  }
  block_t* b = block_new(w, random_power(&w->rng, phase->least, phase->most));
  size_t life = random_power(&w->rng, 0, phase->life);
  block_t** death = &w->wheel[(w->tick + life - 1) % WHEEL];
  b->next = *death;
  *death = b;
  if (rng_below(&w->rng, 32) == 0) replace_session(w);
  if (w->tick % 64 == 0) free_inbox(w);
}

static void* worker_run(void* arg) {
  worker_t* w = (worker_t*)arg;
  for (size_t i = 0; i < SESSIONS && w->tick == 0; i++)
    w->session[i] = block_new(w, random_power(&w->rng, 4, 13));
  do {
    pthread_barrier_wait(&begin);
    for (size_t n = turns << phase->ticks; n > 0; n--) live_one_tick(w);
    pthread_barrier_wait(&worked);
    free_inbox(w);
    pthread_barrier_wait(&end);
  } while (w != leaver);
  return NULL;
}

/* ---- the run ---- */

static block_t** map_table(size_t count) {
  size_t bytes = count * sizeof(block_t*);
  void* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(p != MAP_FAILED);
  memset(p, 0, bytes);
  return (block_t**)p;
}

static void run_phase(const phase_t* next) {
  phase = next;
  pthread_barrier_wait(&begin);
  pthread_barrier_wait(&worked);
  pthread_barrier_wait(&end);
}

static size_t live_bytes(void) {
  size_t live = 0;
  for (size_t i = 0; i < THREADS; i++) live += worker[i].live;
  return live;
}

/* Freed memory waits for two delays, which are 32 times as long at most. */
static double longest_wait(void) {
  return 64e-3 * (double)mi_option_get(mi_option_purge_delay) *
         (double)mi_option_get(mi_option_arena_purge_mult);
}

/* After silence: until memory is within the bound, but not longer than the longest wait. */
static size_t rss_after_silence(size_t bound) {
  double until = now_seconds() + longest_wait() + (bound > 0 ? BUSY_MACHINE : 0);
  do sleep_ms(10);
  while (rss_bytes() > bound && now_seconds() < until);
  return rss_bytes();
}

/* Bytes after a phase. */
typedef struct after_s {
  size_t first, first_live, most, most_live, last;
} after_t;

static void measure(after_t* a, size_t base) {
  size_t live = live_bytes();
  bool is_first = a->first == 0;
  /* What the program itself holds more than at the first time is no growth. */
  size_t more = !is_first && live > a->first_live ? live - a->first_live : 0;
  size_t bound = is_first ? 0 : a->first / 10 * 11 + more;
  a->last = rss_after_silence(is_first ? 0 : base + bound) - base;
  if (is_first) *a = (after_t){.first = a->last, .first_live = live};
  if (a->last > a->most) a->most = a->last, a->most_live = live;
  if (!is_first) CHECK_LE(a->last, bound);
}

static void run_cycles(size_t cycles) {
  after_t after[PHASES] = {{0}};
  size_t operations = 0;
  pthread_barrier_init(&begin, NULL, THREADS + 1);
  pthread_barrier_init(&worked, NULL, THREADS + 1);
  pthread_barrier_init(&end, NULL, THREADS + 1);
  for (size_t i = 0; i < THREADS; i++)
    worker[i] =
        (worker_t){.rng = {i + 1}, .wheel = map_table(WHEEL), .session = map_table(SESSIONS)};
  size_t base = rss_bytes();
  for (size_t i = 0; i < THREADS; i++) worker[i].thread = thread_start(&worker_run, &worker[i]);
  run_phase(&phases[PHASES - 1]); /* the start of the server */
  for (size_t cycle = 0; cycle < cycles; cycle++) {
    worker_t* w = &worker[cycle % THREADS];
    for (size_t k = 0; k < PHASES; k++) {
      leaver = k + 1 < PHASES ? NULL : w;
      run_phase(&phases[k]);
      measure(&after[k], base);
    }
    thread_join(w->thread);
    w->thread = thread_start(&worker_run, w);
  }
  for (size_t i = 0; i < THREADS; i++) operations += worker[i].operations;
  check_note("%zu operations in %zu cycles; MiB after each phase (live): first, most, last\n",
             operations, cycles);
  for (size_t k = 0; k < PHASES; k++) {
    const after_t* a = &after[k];
    check_note("%-7s %4zu (%zu), %4zu (%zu), %4zu\n", phases[k].name, a->first / MIB,
               a->first_live / MIB, a->most / MIB, a->most_live / MIB, a->last / MIB);
  }
}

static void memory_after_a_phase_does_not_grow(void) {
  mi_option_set(mi_option_purge_delay, 1); /* to have silence for a short time only */
  run_cycles(check_scaled(CYCLES));
}

static const check_case_t cases[] = {CASE(memory_after_a_phase_does_not_grow)};

/* long_run CYCLES TURNS: with the default options, and so many times as many ticks in a phase. */
int main(int argc, char** argv) {
  if (argc != 3) return CHECK_MAIN(argc, argv, cases);
  turns = strtoul(argv[2], NULL, 10);
  run_cycles(strtoul(argv[1], NULL, 10));
  return check_failures == 0 ? 0 : 1;
}
