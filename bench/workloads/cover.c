/* cover.c - two-level logic minimisation: sums of products made smaller.
 *
 * Usage:  cover FUNCTIONS VARIABLES
 * Cubes are blocks of their own, held in arrays that grow by realloc. Complements and tautologies
 * are found by halving a function again and again, which copies and frees covers of all sizes.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { FIRST_CAPACITY = 4, MOST_VARIABLES = 63, PASSES = 4 };

/* Bit v of `one` (of `zero`): the cube has points where variable v is 1 (is 0). */
struct cube {
  uint64_t one;
  uint64_t zero;
  size_t literals;
};

struct cover {
  size_t count;
  size_t capacity;
  struct cube** cubes;
};

static uint64_t all; /* a bit for each variable */

static struct cube* cube_new(uint64_t one, uint64_t zero) {
  struct cube* c = bench_alloc(sizeof *c);
  c->one = one;
  c->zero = zero;
  c->literals = (size_t)__builtin_popcountll(all & ~(one & zero));
  return c;
}

static int cubes_meet(const struct cube* a, const struct cube* b) {
  return (((a->one & b->one) | (a->zero & b->zero)) & all) == all;
}

static int cube_contains(const struct cube* a, const struct cube* b) {
  return (b->one & ~a->one) == 0 && (b->zero & ~a->zero) == 0;
}

static struct cover* cover_new(void) { return bench_zeroed(1, sizeof(struct cover)); }

static void cover_add(struct cover* f, struct cube* c) {
  if (f->count == f->capacity) {
    f->capacity = f->capacity == 0 ? FIRST_CAPACITY : f->capacity * 2;
    f->cubes = bench_resize(f->cubes, f->capacity * sizeof *f->cubes);
  }
  f->cubes[f->count++] = c;
}

static void cover_free(struct cover* f) {
  for (size_t i = 0; i < f->count; i++) free(f->cubes[i]);
  free(f->cubes);
  free(f);
}

/* What is left of f where all points lie in c; `but` is left out. */
static struct cover* cover_within(const struct cover* f, const struct cube* c,
                                  const struct cube* but) {
  struct cover* within = cover_new();
  uint64_t fixed = all & ~(c->one & c->zero);
  for (size_t i = 0; i < f->count; i++) {
    const struct cube* d = f->cubes[i];
    if (d != but && cubes_meet(c, d)) cover_add(within, cube_new(d->one | fixed, d->zero | fixed));
  }
  return within;
}

/* Drops each cube that lies in another one. */
static void cover_absorb(struct cover* f) {
  size_t kept = 0;
  for (size_t i = 0; i < f->count; i++) {
    int inside = 0;
    for (size_t k = 0; k < f->count && !inside; k++)
      inside = k != i && f->cubes[k] != NULL && cube_contains(f->cubes[k], f->cubes[i]);
    if (!inside) continue;
    free(f->cubes[i]);
    f->cubes[i] = NULL;
  }
  for (size_t i = 0; i < f->count; i++)
    if (f->cubes[i] != NULL) f->cubes[kept++] = f->cubes[i];
  f->count = kept;
}

static int cover_has_everything(const struct cover* f) {
  for (size_t i = 0; i < f->count; i++)
    if (f->cubes[i]->literals == 0) return 1;
  return 0;
}

/* The variable that most cubes restrict, those first that occur both ways; -1 if each occurs one
 * way only. */
static int cover_divider(const struct cover* f) {
  int best = -1;
  size_t best_count = 0;
  for (int v = 0; (all >> v & 1) != 0; v++) {
    size_t ones = 0;
    size_t zeros = 0;
    for (size_t i = 0; i < f->count; i++) {
      ones += !(f->cubes[i]->zero >> v & 1);
      zeros += !(f->cubes[i]->one >> v & 1);
    }
    if (ones > 0 && zeros > 0 && ones + zeros > best_count) {
      best = v;
      best_count = ones + zeros;
    }
  }
  return best;
}

static struct cover* cover_half(const struct cover* f, uint64_t bit, int value) {
  struct cube half = {value ? all : all & ~bit, value ? all & ~bit : all, 1};
  return cover_within(f, &half, NULL);
}

static int cover_is_tautology(const struct cover* f) {
  if (cover_has_everything(f)) return 1;
  int v = cover_divider(f);
  if (v < 0) return 0; /* the corner opposite to all literals is missed */
  int yes = 1;
  for (int value = 0; value < 2 && yes; value++) {
    struct cover* half = cover_half(f, (uint64_t)1 << v, value);
    yes = cover_is_tautology(half);
    cover_free(half);
  }
  return yes;
}

static struct cover* cover_complement(const struct cover* f) {
  struct cover* result = cover_new();
  if (cover_has_everything(f)) return result;
  if (f->count == 0) {
    cover_add(result, cube_new(all, all));
    return result;
  }
  int v = cover_divider(f);
  uint64_t bit = 0;
  if (v < 0 || f->count == 1) { /* any variable that the first cube restricts */
    uint64_t fixed = all & ~(f->cubes[0]->one & f->cubes[0]->zero);
    bit = fixed & (~fixed + 1);
  } else {
    bit = (uint64_t)1 << v;
  }
  for (int value = 0; value < 2; value++) {
    struct cover* half = cover_half(f, bit, value);
    struct cover* rest = cover_complement(half);
    for (size_t i = 0; i < rest->count; i++) {
      struct cube* c = rest->cubes[i];
      cover_add(result,
                value ? cube_new(c->one, c->zero & ~bit) : cube_new(c->one & ~bit, c->zero));
    }
    cover_free(half);
    cover_free(rest);
  }
  /* Twins that differ in this variable only become one cube. */
  for (size_t i = 0; i < result->count; i++) {
    struct cube* a = result->cubes[i];
    for (size_t k = i + 1; k < result->count; k++) {
      struct cube* b = result->cubes[k];
      if (((a->one ^ b->one) | (a->zero ^ b->zero)) != bit) continue;
      a->one |= bit;
      a->zero |= bit;
      a->literals--;
      free(b);
      result->cubes[k] = result->cubes[--result->count];
      break;
    }
  }
  return result;
}

/* Takes literals away from each cube as long as it does not touch the complement. */
static void cover_expand(struct cover* f, const struct cover* complement) {
  for (size_t i = 0; i < f->count; i++) {
    for (uint64_t bit = 1; (bit & all) != 0; bit <<= 1) {
      struct cube* c = f->cubes[i];
      if ((c->one & c->zero & bit) != 0) continue;
      struct cube* wider = cube_new(c->one | bit, c->zero | bit);
      size_t k = 0;
      while (k < complement->count && !cubes_meet(wider, complement->cubes[k])) k++;
      f->cubes[i] = k == complement->count ? wider : c;
      free(k == complement->count ? c : wider);
    }
  }
  cover_absorb(f);
}

/* Drops the cubes that the others cover; shrinks the rest to what only they cover. */
static void cover_reduce(struct cover* f) {
  for (size_t i = 0; i < f->count;) {
    struct cube* c = f->cubes[i];
    struct cover* others = cover_within(f, c, c);
    if (cover_is_tautology(others)) {
      free(c);
      f->cubes[i] = f->cubes[--f->count];
    } else {
      struct cover* own = cover_complement(others);
      uint64_t one = 0;
      uint64_t zero = 0;
      for (size_t k = 0; k < own->count; k++) {
        one |= own->cubes[k]->one;
        zero |= own->cubes[k]->zero;
      }
      f->cubes[i++] = cube_new(c->one & one, c->zero & zero);
      free(c);
      cover_free(own);
    }
    cover_free(others);
  }
}

static struct cover* random_function(struct rng* rng, size_t variables) {
  struct cover* f = cover_new();
  size_t cubes = 2 * variables + rng_between(rng, 0, 2 * variables);
  for (size_t i = 0; i < cubes; i++) {
    uint64_t one = all;
    uint64_t zero = all;
    for (size_t v = 0; v < variables; v++) {
      uint32_t pick = rng_next(rng) >> 29; /* a free variable in three of eight cases */
      if (pick < 3) one &= ~((uint64_t)1 << v);
      if (pick > 5) zero &= ~((uint64_t)1 << v);
    }
    cover_add(f, cube_new(one, zero));
  }
  return f;
}

int main(int argc, char** argv) {
  bench_start();
  size_t functions = bench_arg(argc, argv, 1, 10);
  size_t variables = bench_arg(argc, argv, 2, 10);
  if (variables > MOST_VARIABLES) bench_die("too many variables");
  all = ((uint64_t)1 << variables) - 1;
  struct rng rng = rng_new(0);
  uint64_t sum = 0;
  struct cover** all_functions = bench_alloc(functions * sizeof *all_functions);
  for (size_t i = 0; i < functions; i++) all_functions[i] = random_function(&rng, variables);
  for (size_t i = 0; i < functions; i++) {
    struct cover* f = all_functions[i];
    struct cover* complement = cover_complement(f);
    for (int pass = 0; pass < PASSES; pass++) {
      cover_expand(f, complement);
      cover_reduce(f);
    }
    cover_expand(f, complement);
    cover_free(complement);
  }
  for (size_t i = 0; i < functions; i++) {
    struct cover* f = all_functions[i];
    for (size_t k = 0; k < f->count; k++) sum += f->cubes[k]->one * 31 + f->cubes[k]->zero;
    sum = sum * 31 + f->count;
    cover_free(f);
  }
  free(all_functions);
  bench_finish("cover", sum);
  return 0;
}
