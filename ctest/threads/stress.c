/* stress.c - random work in several threads: allocate in every way, fill, check, reallocate,
 * free, and hand blocks to other threads through mailboxes.
 *
 * Use:   stress [threads [steps [live [largest [seed]]]]]
 *        threads  workers at a time (4)
 *        steps    per worker and round (60000, multiplied by CTEST_SCALE)
 *        live     blocks held per worker (400)
 *        largest  bytes of the largest block (500000)
 *        seed     0: from the clock; printed, so that a run can be repeated as far as the
 *                 threads allow
 * The defaults find a broken free list in seconds; for a change of the remote free
 * path run "stress 8 1000000" under ThreadSanitizer and without (about 10 minutes).
 * A wrong byte, a misaligned block or a request that fails ends the program with status 1.
 */
#include "probe.h"
#include <mimalloc.h>

#define MAILBOXES 256
#define LOCKED_BOXES 32
#define ROUNDS 3

/* The start of each block; the rest is the pattern of `seed`. */
typedef struct head_s {
  size_t size;
  unsigned seed;
  unsigned check;
} head_t;

typedef struct settings_s {
  size_t threads;
  size_t steps;
  size_t live;
  size_t largest;
  uint64_t seed;
} settings_t;

static settings_t settings = {4, 60000, 400, 500000, 0};

static head_t* mailboxes[MAILBOXES]; /* exchanged atomically */
static pthread_mutex_t boxes_lock = PTHREAD_MUTEX_INITIALIZER;
static head_t* boxes[LOCKED_BOXES];

static unsigned head_checksum(const head_t* h) {
  return (unsigned)(h->size * 2654435761u) ^ h->seed ^ 0x5bd1e995u;
}

/* Fills all of a small block, both ends and some places of a large one. */
static void block_fill(head_t* h, size_t size, unsigned seed) {
  h->size = size;
  h->seed = seed;
  h->check = head_checksum(h);
  unsigned char* bytes = (unsigned char*)h;
  size_t step = size > 4096 ? 509 : 1;
  for (size_t i = sizeof *h; i < size; i += step) bytes[i] = pattern_at(i, seed);
  if (size > sizeof *h) bytes[size - 1] = pattern_at(size - 1, seed);
}

/* `kept`: how many bytes are still there, after a reallocation to something smaller. */
static void block_check(const head_t* h, size_t kept) {
  if (h->check != head_checksum(h)) {
    check_fail("block %p: head is damaged: size %zu, seed %u, check %u\n", (const void*)h, h->size,
               h->seed, h->check);
    _exit(1);
  }
  const unsigned char* bytes = (const unsigned char*)h;
  size_t size = h->size;
  size_t step = size > 4096 ? 509 : 1;
  for (size_t i = sizeof *h; i < size && i < kept; i += step) {
    if (bytes[i] == pattern_at(i, h->seed)) continue;
    check_fail("block %p of %zu bytes, seed %u: byte %zu is 0x%02x, not 0x%02x\n", (const void*)h,
               size, h->seed, i, bytes[i], pattern_at(i, h->seed));
    _exit(1);
  }
  if (size > sizeof *h && size <= kept) REQUIRE(bytes[size - 1] == pattern_at(size - 1, h->seed));
}

static void block_free(head_t* h, rng_t* rng) {
  if (h == NULL) return;
  block_check(h, SIZE_MAX);
  size_t size = h->size;
  REQUIRE(mi_usable_size(h) >= size);
  h->check = 0;
  if (rng_below(rng, 8) == 0) {
    mi_free_size(h, size);
  } else {
    mi_free(h);
  }
}

static size_t size_any(rng_t* rng) {
  size_t size = rng_size(rng, rng_below(rng, 100) == 0 ? settings.largest : 3000);
  return size < sizeof(head_t) ? sizeof(head_t) : size;
}

static head_t* block_new(rng_t* rng) {
  size_t size = size_any(rng);
  size_t alignment = 8;
  head_t* h;
  switch (rng_below(rng, 8)) {
  case 0:
    h = (head_t*)mi_zalloc(size);
    REQUIRE(h != NULL);
    REQUIRE(all_bytes_are(h, size, 0));
    break;
  case 1:
    alignment = (size_t)1 << rng_below(rng, 13);
    h = (head_t*)mi_malloc_aligned(size, alignment);
    break;
  case 2:
    h = (head_t*)mi_malloc_align8(size);
    break;
  case 3:
    h = (head_t*)mi_calloc(size, 1);
    REQUIRE(h != NULL);
    REQUIRE(all_bytes_are(h, size, 0));
    break;
  default:
    alignment = 16;
    h = (head_t*)mi_malloc(size);
    break;
  }
  REQUIRE(h != NULL);
  REQUIRE(is_aligned(h, alignment));
  REQUIRE(mi_usable_size(h) >= size);
  block_fill(h, size, (unsigned)rng_next(rng));
  return h;
}

static head_t* block_resize(head_t* h, rng_t* rng) {
  size_t size = size_any(rng);
  size_t kept = h->size < size ? h->size : size;
  block_check(h, SIZE_MAX);
  head_t* moved =
      (head_t*)(rng_below(rng, 4) == 0 ? mi_realloc_aligned(h, size, 64) : mi_realloc(h, size));
  REQUIRE(moved != NULL);
  block_check(moved, kept);
  block_fill(moved, size, (unsigned)rng_next(rng));
  return moved;
}

static void* worker_run(void* arg) {
  rng_t rng = {settings.seed + (uintptr_t)arg * 7919};
  size_t live = settings.live;
  /* The list itself is a block like any other. */
  head_t** held = (head_t**)mi_calloc(live, sizeof *held);
  REQUIRE(held != NULL);
  for (size_t step = 0; step < settings.steps; step++) {
    size_t at = rng_below(&rng, live);
    switch (rng_below(&rng, 16)) {
    case 0:
    case 1:
    case 2: { /* swap with a mailbox: any thread may have put the block there */
      head_t** box = &mailboxes[rng_below(&rng, MAILBOXES)];
      held[at] = __atomic_exchange_n(box, held[at], __ATOMIC_ACQ_REL);
      if (held[at] != NULL) block_check(held[at], SIZE_MAX);
      break;
    }
    case 3: {
      pthread_mutex_lock(&boxes_lock);
      size_t box = rng_below(&rng, LOCKED_BOXES);
      head_t* other = boxes[box];
      boxes[box] = held[at];
      held[at] = other;
      pthread_mutex_unlock(&boxes_lock);
      break;
    }
    case 4:
    case 5:
      if (held[at] != NULL) held[at] = block_resize(held[at], &rng);
      break;
    case 6:
      if (rng_below(&rng, 2000) == 0) mi_collect(rng_below(&rng, 4) == 0);
      break;
    default:
      block_free(held[at], &rng);
      held[at] = rng_below(&rng, 5) == 0 ? NULL : block_new(&rng);
      break;
    }
  }
  /* Some threads free their blocks; others leave them in mailboxes for later threads. */
  for (size_t i = 0; i < live; i++) {
    if ((uintptr_t)arg % 2 == 0) {
      block_free(held[i], &rng);
    } else {
      head_t** box = &mailboxes[rng_below(&rng, MAILBOXES)];
      block_free(__atomic_exchange_n(box, held[i], __ATOMIC_ACQ_REL), &rng);
    }
  }
  mi_free((void*)held);
  return NULL;
}

int main(int argc, char** argv) {
  size_t* const numbers[] = {&settings.threads, &settings.steps, &settings.live, &settings.largest};
  settings.steps = check_scaled(settings.steps);
  for (int i = 1; i < argc && i <= (int)COUNT_OF(numbers); i++) {
    *numbers[i - 1] = strtoul(argv[i], NULL, 10);
    REQUIRE(*numbers[i - 1] > 0);
  }
  if (argc > 5) settings.seed = strtoull(argv[5], NULL, 10);
  if (settings.seed == 0) settings.seed = (uint64_t)(now_seconds() * 1e6);
  check_note("stress %zu %zu %zu %zu %llu\n", settings.threads, settings.steps, settings.live,
             settings.largest, (unsigned long long)settings.seed);
  for (size_t round = 0; round < ROUNDS; round++) {
    pthread_t threads[64];
    REQUIRE(settings.threads <= COUNT_OF(threads));
    for (size_t i = 0; i < settings.threads; i++) {
      threads[i] = thread_start(&worker_run, (void*)(round * settings.threads + i + 1));
    }
    for (size_t i = 0; i < settings.threads; i++) thread_join(threads[i]);
  }
  rng_t rng = {1};
  for (size_t i = 0; i < MAILBOXES; i++) block_free(mailboxes[i], &rng);
  for (size_t i = 0; i < LOCKED_BOXES; i++) block_free(boxes[i], &rng);
  mi_collect(true);
  check_note("resident at the end: %zu KiB\n", rss_bytes() / KIB);
  CHECK_LE(rss_bytes(), 32 * MIB);
  return check_end();
}
