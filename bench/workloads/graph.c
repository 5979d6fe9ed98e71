/* graph.c - adjacency lists built in random order, then walked many times.
 *
 * Usage:  graph VERTICES EDGES WALKS
 * Vertices and edges are blocks of their own; between the walks one edge in 16 is replaced. The
 * time is that of cache misses: it depends on how near to each other blocks lie that were
 * allocated at about the same time.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { REPLACE_ONE_IN = 16, LABEL = 12 };

struct edge {
  struct edge* next;
  struct vertex* to;
  uint32_t weight;
};

struct vertex {
  struct edge* edges;
  char* label;
  struct vertex* queued; /* the next one in the queue of a walk */
  uint64_t distance;
  uint32_t seen; /* by the walk of this number */
};

static struct vertex* vertex_new(size_t number) {
  struct vertex* v = bench_zeroed(1, sizeof *v);
  v->label = bench_alloc(LABEL + number % LABEL);
  snprintf(v->label, LABEL, "v%zu", number % 1000000);
  return v;
}

/* Most edges are short, as in a road map; one in eight goes anywhere. */
static void edge_add(struct vertex** all, size_t count, struct rng* rng) {
  size_t from = rng_between(rng, 0, count - 1);
  size_t to = (from + rng_between(rng, 1, 1000)) % count;
  if (rng_next(rng) >> 29 == 0) to = rng_between(rng, 0, count - 1);
  struct edge* e = bench_alloc(sizeof *e);
  *e = (struct edge){all[from]->edges, all[to], rng_next(rng) & 0xff};
  all[from]->edges = e;
}

static void edge_drop(struct vertex** all, size_t count, struct rng* rng) {
  struct vertex* v = all[rng_between(rng, 0, count - 1)];
  while (v->edges == NULL) v = all[rng_between(rng, 0, count - 1)];
  struct edge* e = v->edges;
  v->edges = e->next;
  free(e);
}

/* Breadth first; the sum of the weights on the way to each vertex. */
static uint64_t walk(struct vertex* start, uint32_t number) {
  uint64_t sum = 0;
  struct vertex* last = start;
  start->seen = number;
  start->distance = 0;
  start->queued = NULL;
  for (struct vertex* v = start; v != NULL; v = v->queued) {
    sum += v->distance ^ (uint64_t)(unsigned char)v->label[1];
    for (struct edge* e = v->edges; e != NULL; e = e->next) {
      if (e->to->seen == number) continue;
      e->to->seen = number;
      e->to->distance = v->distance + e->weight;
      e->to->queued = NULL;
      last->queued = e->to;
      last = e->to;
    }
  }
  return sum;
}

int main(int argc, char** argv) {
  bench_start();
  size_t vertices = bench_arg(argc, argv, 1, 1000);
  size_t edges = bench_arg(argc, argv, 2, 4000);
  size_t walks = bench_arg(argc, argv, 3, 4);
  struct rng rng = rng_new(0);
  struct vertex** all = bench_alloc(vertices * sizeof *all);
  for (size_t i = 0; i < vertices; i++) all[i] = vertex_new(i);
  for (size_t i = 0; i < edges; i++) edge_add(all, vertices, &rng);
  uint64_t sum = 0;
  for (size_t i = 1; i <= walks; i++) {
    sum = sum * 31 + walk(all[rng_between(&rng, 0, vertices - 1)], (uint32_t)i);
    for (size_t k = 0; k < edges / REPLACE_ONE_IN; k++) {
      edge_drop(all, vertices, &rng);
      edge_add(all, vertices, &rng);
    }
  }
  for (size_t i = 0; i < vertices; i++) {
    while (all[i]->edges != NULL) {
      struct edge* e = all[i]->edges;
      all[i]->edges = e->next;
      free(e);
    }
    free(all[i]->label);
    free(all[i]);
  }
  free(all);
  bench_finish("graph", sum);
  return 0;
}
