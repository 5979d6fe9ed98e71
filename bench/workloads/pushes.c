/* pushes.c - many vectors that grow element by element, by realloc of half as much again.
 *
 * Usage:  pushes VECTORS ELEMENTS
 * Elements of 16 bytes go to a random vector, some to a favourite one. A vector that reaches
 * 64 KiB is sorted, read and begun anew, so that all sizes up to that are in use at once.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { FIRST_CAPACITY = 4, MOST = 65536 / 16, FAVOURITES = 16 };

struct element {
  uint32_t key;
  uint32_t order;
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

/* By the key, then by the order of arrival: qsort() need not be stable. */
static int element_compare(const void* a, const void* b) {
  const struct element* x = a;
  const struct element* y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

static uint64_t vector_drain(struct vector* v) {
  uint64_t sum = v->count;
  qsort(v->at, v->count, sizeof *v->at, element_compare);
  for (size_t i = 0; i < v->count; i++) sum = sum * 31 + v->at[i].value;
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
    struct element e = {rng_next(&rng), (uint32_t)i, i};
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
