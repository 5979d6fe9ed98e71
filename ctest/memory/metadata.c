/* metadata.c - metadata stays below 0.2 % of the live bytes: 256 MiB in 8 threads, by block size.
 * The library reports its metadata in the line "metadata: <bytes> bytes" of its statistics. The
 * case prints resident memory too, which limits what that line may leave out. */
#include "probe.h"
#include <mimalloc.h>

#define THREADS 8
#define LIVE_BYTES (256 * MIB)
#define METADATA_SHARE_MAX 0.002
/* The share by which resident memory may exceed the payload: the unused ends of pages and, with
 * huge OS pages, the parts of active pages that were never used. */
#define RESIDENT_SHARE_MAX 0.015

typedef struct worker_s {
  size_t block_size; /* 0: mixed sizes */
  size_t payload;    /* usable bytes alive */
  void** last;       /* the blocks are linked through their first word */
  pthread_barrier_t* barrier;
  unsigned number;
} worker_t;

static void* worker_run(void* arg) {
  worker_t* w = (worker_t*)arg;
  static const size_t mixed[] = {16, 64, 256, 1024, 8192};
  rng_t rng = {w->number + 1};
  while (w->payload < LIVE_BYTES / THREADS) {
    /* Mixed: equal bytes of each size, not equal counts. */
    size_t size = w->block_size != 0 ? w->block_size : mixed[rng_below(&rng, COUNT_OF(mixed))];
    size_t batch = w->block_size != 0 ? 1 : 8192 / size;
    for (size_t i = 0; i < batch; i++) {
      void** p = (void**)mi_malloc(size);
      REQUIRE(p != NULL);
      size_t usable = mi_usable_size((void*)p);
      memset((void*)p, 1, usable);
      *p = (void*)w->last;
      w->last = p;
      w->payload += usable;
    }
  }
  pthread_barrier_wait(w->barrier); /* all full: the main thread measures */
  pthread_barrier_wait(w->barrier);
  while (w->last != NULL) {
    void** next = (void**)*w->last;
    mi_free((void*)w->last);
    w->last = next;
  }
  return NULL;
}

typedef struct figure_s {
  char line[256]; /* the line so far: a message may come in fragments */
  size_t used;
  size_t metadata;
  bool found;
} figure_t;

static void on_stats(const char* message, void* arg) {
  figure_t* f = (figure_t*)arg;
  for (const char* c = message; *c != 0; c++) {
    if (f->used < sizeof f->line - 1) f->line[f->used++] = *c;
    if (*c != '\n') continue;
    f->line[f->used] = 0;
    f->used = 0;
    const char* text = f->line + strspn(f->line, " ");
    if (strncmp(text, "metadata:", 9) != 0) continue;
    char* end;
    f->metadata = strtoul(text + 9, &end, 10);
    f->found = end != text + 9 && strncmp(end, " bytes", 6) == 0;
  }
}

static void measure(size_t block_size, const char* name) {
  pthread_barrier_t barrier;
  REQUIRE(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
  static worker_t workers[THREADS];
  pthread_t threads[THREADS];
  size_t before = rss_bytes();
  for (unsigned i = 0; i < THREADS; i++) {
    workers[i] = (worker_t){block_size, 0, NULL, &barrier, i};
    threads[i] = thread_start(&worker_run, &workers[i]);
  }
  pthread_barrier_wait(&barrier);
  size_t payload = 0;
  for (unsigned i = 0; i < THREADS; i++) payload += workers[i].payload;
  figure_t figure = {{0}, 0, 0, false};
  mi_stats_print_out(&on_stats, &figure);
  size_t resident = rss_bytes() - before;
  REQUIRE(figure.found);
  double share = (double)figure.metadata / (double)payload;
  double excess = ((double)resident - (double)payload) / (double)payload;
  check_note("%5s bytes: payload %zu, metadata %zu = %.4f %%, resident - payload %.4f %%\n", name,
             payload, figure.metadata, 100 * share, 100 * excess);
  CHECK_GE(figure.metadata, 64 * THREADS); /* a library that reports 0 has not counted */
  CHECK_LE_DOUBLE(share, METADATA_SHARE_MAX);
  CHECK_LE_DOUBLE(excess, RESIDENT_SHARE_MAX);
  pthread_barrier_wait(&barrier);
  for (unsigned i = 0; i < THREADS; i++) thread_join(threads[i]);
}

static void metadata_of_16_byte_blocks(void) { measure(16, "16"); }
static void metadata_of_64_byte_blocks(void) { measure(64, "64"); }
static void metadata_of_256_byte_blocks(void) { measure(256, "256"); }
static void metadata_of_1024_byte_blocks(void) { measure(1024, "1024"); }
static void metadata_of_8192_byte_blocks(void) { measure(8192, "8192"); }
static void metadata_of_mixed_blocks(void) { measure(0, "mixed"); }

static const check_case_t cases[] = {
    CASE(metadata_of_16_byte_blocks),   CASE(metadata_of_64_byte_blocks),
    CASE(metadata_of_256_byte_blocks),  CASE(metadata_of_1024_byte_blocks),
    CASE(metadata_of_8192_byte_blocks), CASE(metadata_of_mixed_blocks),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
