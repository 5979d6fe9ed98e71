/* batches.c - threads that allocate in batches and give every other batch to a neighbour.
 *
 * Usage:  batches THREADS BATCHES BLOCKS     (BATCHES per thread, BLOCKS in a batch)
 * Sizes from 16 to 16000 bytes: of the four batches that follow each other two are uniform, two
 * have half as many blocks with each doubling. Some batches are freed in order, some backwards.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { SMALLEST = 16, LARGEST = 16000, DOUBLINGS = 10, OWN = 4, INBOX = 4, WRITE_MOST = 1024 };

struct batch {
  struct batch* next;
  size_t count;
  unsigned char* blocks[];
};

struct worker {
  _Atomic(struct batch*) inbox;
  atomic_size_t waiting; /* about as many as are in the inbox */
  atomic_int ended;
  struct worker* neighbour;
  pthread_t thread;
  size_t number;
  size_t batches;
  size_t blocks;
  uint64_t sum;
};

static size_t random_bytes(struct rng* rng, int uniform) {
  if (uniform) return rng_between(rng, SMALLEST, LARGEST);
  size_t bytes = SMALLEST;
  uint32_t coins = rng_next(rng);
  for (int i = 1; i < DOUBLINGS && (coins & 1) != 0; i++, coins >>= 1) bytes *= 2;
  bytes = rng_between(rng, bytes, 2 * bytes);
  return bytes > LARGEST ? LARGEST : bytes;
}

static struct batch* batch_new(struct worker* w, struct rng* rng, int uniform) {
  struct batch* b = bench_alloc(sizeof *b + w->blocks * sizeof b->blocks[0]);
  b->count = w->blocks;
  for (size_t i = 0; i < b->count; i++) {
    size_t bytes = random_bytes(rng, uniform);
    b->blocks[i] = bench_alloc(bytes);
    memset(b->blocks[i], (int)(i & 0xff), bytes < WRITE_MOST ? bytes : WRITE_MOST);
    b->blocks[i][0] = (unsigned char)rng_next(rng);
  }
  return b;
}

static void batch_free(struct worker* w, struct batch* b, int backwards) {
  for (size_t i = 0; i < b->count; i++) {
    unsigned char* block = b->blocks[backwards ? b->count - 1 - i : i];
    w->sum += (uint64_t)block[0] * 31 + block[SMALLEST - 1];
    free(block);
  }
  free(b);
}

static void inbox_empty(struct worker* w) {
  atomic_store_explicit(&w->waiting, 0, memory_order_relaxed);
  /* Acquire: the blocks travel with their batch; pairs with the release in batch_send(). */
  struct batch* b = atomic_exchange_explicit(&w->inbox, NULL, memory_order_acquire);
  while (b != NULL) {
    struct batch* next = b->next;
    batch_free(w, b, (int)(b->count & 1));
    b = next;
  }
}

/* Waits for a neighbour that does not keep up, and reads its own inbox meanwhile. Relaxed: these
 * two only say how long to wait. */
static void batch_send(struct worker* w, struct batch* b) {
  struct worker* to = w->neighbour;
  while (atomic_load_explicit(&to->waiting, memory_order_relaxed) >= INBOX &&
         !atomic_load_explicit(&to->ended, memory_order_relaxed)) {
    inbox_empty(w);
    sched_yield();
  }
  atomic_fetch_add_explicit(&to->waiting, 1, memory_order_relaxed);
  b->next = atomic_load_explicit(&to->inbox, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&to->inbox, &b->next, b, memory_order_release,
                                                memory_order_relaxed)) {
  }
}

static void* work(void* arg) {
  struct worker* w = arg;
  struct rng rng = rng_new(w->number);
  struct batch* own[OWN] = {NULL};
  for (size_t i = 0; i < w->batches; i++) {
    struct batch* b = batch_new(w, &rng, (int)(i % OWN) < OWN / 2);
    if (i % 2 == 0) {
      batch_send(w, b);
    } else {
      struct batch** at = &own[rng_between(&rng, 0, OWN - 1)];
      if (*at != NULL) batch_free(w, *at, (int)(i & 2));
      *at = b;
    }
    inbox_empty(w);
  }
  for (int i = 0; i < OWN; i++)
    if (own[i] != NULL) batch_free(w, own[i], 0);
  atomic_store_explicit(&w->ended, 1, memory_order_relaxed);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 2);
  size_t batches = bench_arg(argc, argv, 2, 100);
  size_t blocks = bench_arg(argc, argv, 3, 200);
  struct worker* workers = bench_zeroed(threads, sizeof *workers);
  for (size_t i = 0; i < threads; i++) {
    workers[i].neighbour = &workers[(i + 1) % threads];
    workers[i].number = i;
    workers[i].batches = batches;
    workers[i].blocks = blocks;
  }
  for (size_t i = 0; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
  uint64_t sum = 0;
  for (size_t i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  for (size_t i = 0; i < threads; i++) {
    inbox_empty(&workers[i]); /* sent after its owner had ended */
    sum += workers[i].sum;
  }
  free(workers);
  bench_finish("batches", sum);
  return 0;
}
