/* pushes.c - many vectors that grow element by element, by realloc of half as much again.
 *
 * Usage:  pushes VECTORS ELEMENTS
 * Elements of 16 bytes go to a random vector, some to a favourite one. A vector that reaches
 * 64 KiB is read, counted and begun anew, so that all sizes up to that are in use at once.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { FIRST_CAPACITY = 4, MOST = 65536 / 16, FAVOURITES = 16, ALIKE_LOG2 = 6 };

struct element {
  uint32_t key;
  uint32_t origin;
  uint64_t value;
};

struct vector {
  struct element* at;
  size_t count;
  size_t capacity;
};

static void vector_push(struct vector* v, struct element e) {
  if (v->count == v->capacity) {
    v->capacity = v->capacity == 0 ? FIRST_CAPACITY : v->capacity + v->capacity / 2;
    if (v->capacity > MOST) v->capacity = MOST;
    v->at = bench_resize(v->at, v->capacity * sizeof *v->at);
  }
  v->at[v->count++] = e;
}

/* How many keys begin alike, and the values in the order of arrival. */
static uint64_t vector_drain(struct vector* v) {
  uint32_t alike[1 << ALIKE_LOG2] = {0};
  uint64_t sum = v->count;
  for (size_t i = 0; i < v->count; i++) {
    alike[v->at[i].key >> (32 - ALIKE_LOG2)]++;
    sum = sum * 31 + v->at[i].value;
  }
  for (size_t i = 0; i < (size_t)1 << ALIKE_LOG2; i++) sum = sum * 31 + alike[i];
  free(v->at);
  *v = (struct vector){NULL, 0, 0};
  return sum;
}

int main(int argc, char** argv) {
  bench_start();
  size_t count = bench_arg(argc, argv, 1, 100);
  size_t elements = bench_arg(argc, argv, 2, 100000);
  struct rng rng = rng_new(0);
  struct vector* vectors = bench_zeroed(count, sizeof *vectors);
  uint64_t sum = 0;
  for (size_t i = 0; i < elements; i++) {
    struct element e = {rng_next(&rng), (uint32_t)i, i * i};
    size_t to = rng_between(&rng, 0, count - 1);
    if (e.key % 4 == 0) to %= FAVOURITES; /* a quarter of all */
    vector_push(&vectors[to], e);
    if (vectors[to].count == MOST) sum = sum * 31 + vector_drain(&vectors[to]);
  }
  for (size_t i = 0; i < count; i++) sum = sum * 31 + vector_drain(&vectors[i]);
  free(vectors);
  bench_finish("pushes", sum);
  return 0;
}
