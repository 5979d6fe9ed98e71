/* bodies.c - gravity among many bodies by the method of Barnes and Hut.
 *
 * Usage:  bodies BODIES STEPS
 * Each step builds an octree of cells that are allocated one by one, walks it once per body and
 * frees it. Little is allocated; where the blocks lie decides how fast the walks are.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { AXES = 3, OCTANTS = 8, DEEPEST = 40 };
static const double opening = 0.8; /* cells that look smaller than this count as one body */
static const double softening = 1e-4;
static const double time_step = 1e-3;

enum kind { BODY, CELL };

/* What a walk reads of either. */
struct node {
  enum kind kind;
  double mass;
  double place[AXES];
};

struct body {
  struct node node;
  double speed[AXES];
  double pull[AXES];
};

struct cell {
  struct node node;
  double middle[AXES];
  double side;
  struct node* children[OCTANTS];
};

static struct cell* cell_new(const double* middle, double side) {
  struct cell* c = bench_zeroed(1, sizeof *c);
  c->node.kind = CELL;
  c->side = side;
  for (int a = 0; a < AXES; a++) c->middle[a] = middle[a];
  return c;
}

static unsigned octant(const struct cell* c, const double* place) {
  unsigned o = 0;
  for (int a = 0; a < AXES; a++) o |= (unsigned)(place[a] > c->middle[a]) << a;
  return o;
}

static void cell_add(struct cell* c, struct body* b) {
  for (int depth = 0; depth < DEEPEST; depth++) {
    unsigned o = octant(c, b->node.place);
    struct node* there = c->children[o];
    if (there == NULL) {
      c->children[o] = &b->node;
      return;
    }
    if (there->kind == BODY) {
      double middle[AXES];
      for (int a = 0; a < AXES; a++)
        middle[a] = c->middle[a] + ((o >> a & 1) != 0 ? c->side : -c->side) / 4;
      struct cell* split = cell_new(middle, c->side / 2);
      split->children[octant(split, there->place)] = there;
      c->children[o] = &split->node;
      there = &split->node;
    }
    c = (struct cell*)there;
  }
  bench_die("two bodies in one place");
}

static void cell_weigh(struct cell* c) {
  for (int o = 0; o < OCTANTS; o++) {
    struct node* n = c->children[o];
    if (n == NULL) continue;
    if (n->kind == CELL) cell_weigh((struct cell*)n);
    c->node.mass += n->mass;
    for (int a = 0; a < AXES; a++) c->node.place[a] += n->mass * n->place[a];
  }
  for (int a = 0; a < AXES; a++) c->node.place[a] /= c->node.mass;
}

static uint64_t cell_free(struct cell* c) {
  uint64_t cells = 1;
  for (int o = 0; o < OCTANTS; o++) {
    struct node* n = c->children[o];
    if (n != NULL && n->kind == CELL) cells += cell_free((struct cell*)n);
  }
  free(c);
  return cells;
}

/* 1 / sqrt(x) by Newton's method from a guess at the exponent: the same everywhere, and without
 * the mathematics library. */
static double inverse_root(double x) {
  union {
    double value;
    uint64_t bits;
  } guess = {x};
  guess.bits = 0x5fe6eb50c7b537a9u - (guess.bits >> 1);
  double y = guess.value;
  for (int i = 0; i < 4; i++) y *= 1.5 - 0.5 * x * y * y;
  return y;
}

static void walk(struct body* b, const struct node* n) {
  double away[AXES];
  double square = softening;
  for (int a = 0; a < AXES; a++) {
    away[a] = n->place[a] - b->node.place[a];
    square += away[a] * away[a];
  }
  if (n->kind == CELL) {
    const struct cell* c = (const struct cell*)n;
    if (c->side * c->side > opening * opening * square) {
      for (int o = 0; o < OCTANTS; o++)
        if (c->children[o] != NULL && c->children[o] != &b->node) walk(b, c->children[o]);
      return;
    }
  }
  double inverse = inverse_root(square);
  double force = n->mass * inverse * inverse * inverse;
  for (int a = 0; a < AXES; a++) b->pull[a] += force * away[a];
}

static struct cell* tree_new(struct body** bodies, size_t count) {
  double middle[AXES] = {0};
  double side = 1;
  for (size_t i = 0; i < count; i++)
    for (int a = 0; a < AXES; a++)
      while (bodies[i]->node.place[a] > side / 2 || bodies[i]->node.place[a] < -side / 2) side *= 2;
  struct cell* root = cell_new(middle, side);
  for (size_t i = 0; i < count; i++) cell_add(root, bodies[i]);
  cell_weigh(root);
  return root;
}

static void move(struct body* b) {
  for (int a = 0; a < AXES; a++) {
    b->speed[a] += b->pull[a] * time_step;
    b->node.place[a] += b->speed[a] * time_step;
    b->pull[a] = 0;
  }
}

static double unit(struct rng* rng) { return rng_next(rng) / 4294967296.0 - 0.5; }

int main(int argc, char** argv) {
  bench_start();
  size_t count = bench_arg(argc, argv, 1, 1000);
  size_t steps = bench_arg(argc, argv, 2, 2);
  struct rng rng = rng_new(0);
  struct body** bodies = bench_alloc(count * sizeof *bodies);
  for (size_t i = 0; i < count; i++) {
    struct body* b = bench_zeroed(1, sizeof *b);
    b->node.kind = BODY;
    b->node.mass = 1.0 / (double)count;
    /* Denser in the middle, as a cluster is. */
    double shrink = 0.05 + 2 * unit(&rng) * unit(&rng);
    for (int a = 0; a < AXES; a++) {
      b->node.place[a] = unit(&rng) * shrink;
      b->speed[a] = unit(&rng) * 0.1;
    }
    bodies[i] = b;
  }
  uint64_t sum = 0;
  for (size_t s = 0; s < steps; s++) {
    struct cell* root = tree_new(bodies, count);
    for (size_t i = 0; i < count; i++) walk(bodies[i], &root->node);
    for (size_t i = 0; i < count; i++) move(bodies[i]);
    sum = sum * 31 + cell_free(root);
  }
  for (size_t i = 0; i < count; i++) {
    sum = sum * 31 + (uint64_t)(int64_t)(bodies[i]->node.place[0] * 1e9);
    free(bodies[i]);
  }
  free(bodies);
  bench_finish("bodies", sum);
  return 0;
}
