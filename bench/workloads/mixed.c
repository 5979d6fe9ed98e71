/* mixed.c - sizes from 16 bytes to 64 KiB in several threads; a quarter of the frees is remote.
 *
 * Usage:  mixed THREADS STEPS      (STEPS per thread)
 * Each thread replaces blocks of its own. Every fourth block it gives up goes, in a chain of 64,
 * to the mailbox of its neighbour, which frees the blocks it finds there. A full mailbox makes the
 * sender look into its own and wait.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MAILBOX = 16 }; /* chains; more would measure how long the scheduler lets a thread wait */
enum { LIVE = 2000, CHAIN = 64, SMALLEST = 16, LARGEST_LOG2 = 16 };

struct block {
  struct block* next;
  uint64_t mark;
};

struct worker {
  _Atomic(struct block*) mailbox;
  atomic_size_t chains; /* about as many as are in the mailbox */
  atomic_int ended;     /* no thread reads the mailbox any more */
  struct worker* neighbour;
  size_t number;
  size_t steps;
  uint64_t sum;
  pthread_t thread;
};

/* Each doubling half as likely as the one before, uniform inside of it: many small blocks, and
 * still some of 64 KiB. */
static size_t random_bytes(struct rng* rng) {
  unsigned log2 = 5;
  uint32_t coin = rng_next(rng);
  while (log2 < LARGEST_LOG2 && (coin & 1)) {
    log2++;
    coin >>= 1;
  }
  size_t bytes = rng_between(rng, (size_t)1 << (log2 - 1), (size_t)1 << log2);
  return bytes < SMALLEST ? SMALLEST : bytes;
}

static struct block* block_new(struct rng* rng) {
  struct block* b = bench_alloc(random_bytes(rng));
  b->next = NULL;
  b->mark = rng_next(rng);
  return b;
}

/* The sum does not depend on which thread frees a block, or when. */
static void chain_free(struct worker* w, struct block* b) {
  while (b != NULL) {
    struct block* next = b->next;
    w->sum += b->mark;
    free(b);
    b = next;
  }
}

/* Release: the links of the chain travel with its head; pairs with the acquire in mail_take(). */
static void mail_send(struct worker* to, struct block* first, struct block* last) {
  struct block* old = atomic_load_explicit(&to->mailbox, memory_order_relaxed);
  do {
    last->next = old;
  } while (!atomic_compare_exchange_weak_explicit(&to->mailbox, &old, first, memory_order_release,
                                                  memory_order_relaxed));
}

static struct block* mail_take(struct worker* w) {
  atomic_store_explicit(&w->chains, 0, memory_order_relaxed); /* a limit, no message */
  return atomic_exchange_explicit(&w->mailbox, NULL, memory_order_acquire);
}

/* Own mail is read while waiting: else two full mailboxes would wait for each other. Relaxed: these
 * two only say how long to wait. */
static void mail_wait(struct worker* w) {
  struct worker* to = w->neighbour;
  while (atomic_load_explicit(&to->chains, memory_order_relaxed) >= MAILBOX &&
         !atomic_load_explicit(&to->ended, memory_order_relaxed)) {
    chain_free(w, mail_take(w));
    sched_yield();
  }
  atomic_fetch_add_explicit(&to->chains, 1, memory_order_relaxed);
}

static void* work(void* arg) {
  struct worker* w = arg;
  struct rng rng = rng_new(w->number);
  struct block** live = bench_alloc(LIVE * sizeof *live);
  for (size_t i = 0; i < LIVE; i++) live[i] = block_new(&rng);
  struct block* first = NULL;
  struct block* last = NULL;
  size_t chained = 0;
  for (size_t i = 0; i < w->steps; i++) {
    struct block** at = &live[rng_between(&rng, 0, LIVE - 1)];
    if (i % 4 != 0) {
      w->sum += (*at)->mark;
      free(*at);
    } else {
      (*at)->next = first;
      first = *at;
      if (last == NULL) last = *at;
      if (++chained == CHAIN) {
        mail_wait(w);
        mail_send(w->neighbour, first, last);
        first = last = NULL;
        chained = 0;
        chain_free(w, mail_take(w));
      }
    }
    *at = block_new(&rng);
  }
  chain_free(w, first);
  for (size_t i = 0; i < LIVE; i++) chain_free(w, live[i]);
  free(live);
  atomic_store_explicit(&w->ended, 1, memory_order_relaxed);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 2);
  size_t steps = bench_arg(argc, argv, 2, 100000);
  struct worker* workers = calloc(threads, sizeof *workers);
  if (workers == NULL) bench_die("out of memory");
  for (size_t i = 0; i < threads; i++) {
    workers[i].neighbour = &workers[(i + 1) % threads];
    workers[i].number = i;
    workers[i].steps = steps;
  }
  for (size_t i = 0; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
  uint64_t sum = 0;
  for (size_t i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  for (size_t i = 0; i < threads; i++) {
    chain_free(&workers[i], mail_take(&workers[i])); /* sent after the neighbour had ended */
    sum += workers[i].sum;
  }
  free(workers);
  bench_finish("mixed", sum);
  return 0;
}
