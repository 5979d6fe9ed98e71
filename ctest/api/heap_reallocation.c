/* heap_reallocation.c - blocks that are resized in another first-class heap than their own,
 * and random work with blocks of several heaps.
 */
#include "heap_blocks.h"

/* ---- reallocation between heaps --------------------------------------------- */

typedef void* resizer_fun(mi_heap_t* heap, void* p, size_t size);

static void* re_realloc(mi_heap_t* h, void* p, size_t n) { return mi_heap_realloc(h, p, n); }

static void* re_reallocn(mi_heap_t* h, void* p, size_t n) { return mi_heap_reallocn(h, p, 1, n); }

static void* re_reallocf(mi_heap_t* h, void* p, size_t n) { return mi_heap_reallocf(h, p, n); }

static void* re_aligned(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_realloc_aligned(h, p, n, 32);
}

static void* re_aligned_at(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_realloc_aligned_at(h, p, n, 32, 8);
}

static void* re_rezalloc(mi_heap_t* h, void* p, size_t n) { return mi_heap_rezalloc(h, p, n); }

static void* re_recalloc(mi_heap_t* h, void* p, size_t n) { return mi_heap_recalloc(h, p, n, 1); }

static void* re_rezaligned(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_rezalloc_aligned(h, p, n, 32);
}

static void* re_rezaligned_at(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_rezalloc_aligned_at(h, p, n, 32, 8);
}

static void* re_recaligned(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_recalloc_aligned(h, p, n, 1, 32);
}

static void* re_recaligned_at(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_recalloc_aligned_at(h, p, n, 1, 32, 8);
}

static const struct {
  const char* name;
  resizer_fun* resize;
  bool zero;
} resizers[] = {
    {"realloc", &re_realloc, false},
    {"reallocn", &re_reallocn, false},
    {"reallocf", &re_reallocf, false},
    {"realloc_aligned", &re_aligned, false},
    {"realloc_aligned_at", &re_aligned_at, false},
    {"rezalloc", &re_rezalloc, true},
    {"recalloc", &re_recalloc, true},
    {"rezalloc_aligned", &re_rezaligned, true},
    {"rezalloc_aligned_at", &re_rezaligned_at, true},
    {"recalloc_aligned", &re_recaligned, true},
    {"recalloc_aligned_at", &re_recaligned_at, true},
};

/* The block moves from `from` to `to`, or stays in place. Then the case destroys the heap that it
 * is not in, and the block must stay valid. */
static void resize_between_heaps(size_t r, size_t old, size_t size, bool destroy) {
  mi_heap_t* from = heap_make();
  mi_heap_t* to = heap_make();
  char* p = (char*)(resizers[r].zero ? mi_heap_zalloc(from, old) : mi_heap_malloc(from, old));
  REQUIRE(p != NULL);
  size_t filled = old < 3 * MIB ? old : 3 * MIB;
  size_t kept = filled < size ? filled : size;
  pattern_fill(p, filled, 5);
  if (resizers[r].zero) memset(p + old, 0x77, mi_usable_size(p) - old); /* "old usable size" */
  size_t old_usable = mi_usable_size(p);
  void* before = opaque(p);
  char* q = (char*)opaque(resizers[r].resize(to, p, size));
  REQUIRE(q != NULL);
  bool ok = CHECK(owned_by(q == before ? from : to, q));
  ok = CHECK(!mi_heap_contains_block(q == before ? to : from, q)) && ok;
  ok = CHECK_GE(mi_usable_size(q), size) && ok;
  ok = CHECK(pattern_holds(q, kept, 5)) && ok;
  if (resizers[r].zero && size > old_usable) {
    ok = CHECK(all_bytes_are(q + old_usable, mi_usable_size(q) - old_usable, 0)) && ok;
  }
  ok = CHECK_EQ(live_blocks(from), q == before) && ok;
  ok = CHECK_EQ(live_blocks(to), q != before) && ok;
  mi_heap_t* not_its = q == before ? to : from;
  mi_heap_t* its = q == before ? from : to;
  if (destroy) {
    mi_heap_destroy(not_its);
  } else {
    mi_heap_delete(not_its);
  }
  ok = CHECK(owned_by(its, q)) && ok;
  ok = CHECK(pattern_holds(q, kept, 5)) && ok;
  mi_free(q);
  ok = CHECK_EQ(live_blocks(its), 0) && ok;
  mi_heap_destroy(its);
  if (!ok) check_note("mi_heap_%s from %zu to %zu bytes\n", resizers[r].name, old, size);
}

static void reallocation_moves_a_block_to_the_heap_that_is_named(void) {
  static const size_t sizes[] = {1, 30, 100, 1000, 5000, 60000, 200000, 3 * MIB, 20 * MIB};
  for (size_t r = 0; r < COUNT_OF(resizers); r++) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        if (sizes[i] + sizes[k] > 20 * MIB + 300000 && r % 4 != 0) continue;
        resize_between_heaps(r, sizes[i], sizes[k], (i + k) % 2 == 0);
      }
    }
  }
}

/* Large blocks move by remapping instead of a copy; their heap must change too. */
static void large_blocks_that_grow_change_their_heap(void) {
  mi_heap_t* a = heap_make();
  mi_heap_t* b = heap_make();
  mi_heap_t* heaps[2] = {a, b};
  for (int round = 0; round < 3; round++) {
    char* p = (char*)mi_heap_malloc(a, 200000);
    REQUIRE(p != NULL);
    pages_mark(p, 0, 200000);
    size_t size = 200000;
    mi_heap_t* owner = a;
    for (int i = 1; size < 200 * MIB; i++) {
      size_t next = size + size / 2 + (size_t)i * 4096;
      mi_heap_t* to = heaps[i % 2];
      /* A block that may prevent growth in place. */
      void* blocker = mi_heap_malloc(heaps[(i + round) % 2], 100000);
      char* q = (char*)opaque(mi_heap_realloc(to, p, next));
      REQUIRE(q != NULL);
      if (q != p) owner = to;
      CHECK(owned_by(owner, q));
      CHECK(owned_by(owner, q + next - 8 - next % 8));
      CHECK(pages_hold(q, 0, size, 7));
      pages_mark(q, size / OS_PAGE * OS_PAGE, next);
      p = q;
      size = next;
      mi_free(blocker);
      CHECK_EQ(live_blocks(owner), 1);
    }
    mi_heap_t** gone = owner == a ? &b : &a;
    mi_heap_destroy(*gone);
    CHECK(owned_by(owner, p));
    CHECK(pages_hold(p, 0, size, 3));
    if (round % 2 == 0) {
      mi_free(p);
    } else {
      mi_heap_destroy(owner);
      if (owner == a) {
        a = heap_make();
      } else {
        b = heap_make();
      }
    }
    *gone = heap_make();
    heaps[0] = a;
    heaps[1] = b;
  }
  mi_heap_destroy(a);
  mi_heap_destroy(b);
}

static void plain_realloc_moves_to_the_default_heap(void) {
  mi_heap_t* heap = heap_make();
  void* p = mi_heap_malloc(heap, 100);
  memset(p, 4, 100);
  CHECK_SAME(mi_expand(p, USABLE_IS_EXACT ? 100 : 90), p);
  CHECK(owned_by(heap, p));
  p = mi_realloc(p, 100000);
  REQUIRE(p != NULL);
  CHECK(owned_by(mi_heap_get_backing(), p));
  mi_heap_destroy(heap);
  CHECK(all_bytes_are(p, 100, 4));
  mi_free(p);
}

/* ---- mixed work --------------------------------------------------------------------- */

#define MIX_HEAPS 5

#define MIX_BLOCKS 3000

typedef struct mix_block_s {
  char* p;
  size_t size;
  unsigned seed;
  unsigned heap; /* MIX_HEAPS: the backing heap */
} mix_block_t;

static mix_block_t mix_blocks[MIX_BLOCKS];

static mi_heap_t* mix_heaps[MIX_HEAPS + 1];

static size_t mix_bytes(const mix_block_t* b) { return b->size < 9000 ? b->size : 9000; }

static void mix_make(mix_block_t* b, rng_t* rng) {
  b->heap = (unsigned)rng_below(rng, MIX_HEAPS + 1);
  b->seed = (unsigned)rng_next(rng);
  b->size = rng_size(rng, rng_below(rng, 300) == 0 ? 4 * MIB : 6000);
  mi_heap_t* heap = mix_heaps[b->heap];
  bool zero = false;
  switch (rng_below(rng, 6)) {
  case 0:
    b->p = (char*)mi_heap_zalloc(heap, b->size);
    zero = true;
    break;
  case 1:
    b->p = (char*)mi_heap_malloc_aligned_at(heap, b->size, (size_t)8 << rng_below(rng, 10), 8);
    break;
  case 2:
    b->p = (char*)mi_heap_calloc_aligned(heap, b->size, 1, (size_t)8 << rng_below(rng, 10));
    zero = true;
    break;
  default:
    b->p = (char*)mi_heap_malloc(heap, b->size);
    break;
  }
  REQUIRE(b->p != NULL);
  if (zero) REQUIRE(all_bytes_are(b->p, mi_usable_size(b->p), 0));
  pattern_fill(b->p, mix_bytes(b), b->seed);
}

/* After a failure the rest cannot be checked: REQUIRE. */
static void mix_check(const mix_block_t* b) {
  REQUIRE(mi_heap_of(b->p) == mix_heaps[b->heap]);
  REQUIRE(pattern_holds(b->p, mix_bytes(b), b->seed));
}

static void mix_free(mix_block_t* b) {
  if (b->p == NULL) return;
  mix_check(b);
  mi_free(b->p);
  b->p = NULL;
}

static void blocks_of_several_heaps_are_used_in_any_order(void) {
  rng_t rng = {2024};
  mix_heaps[MIX_HEAPS] = mi_heap_get_backing();
  size_t others = live_blocks(mi_heap_get_backing());
  for (size_t i = 0; i < MIX_HEAPS; i++) {
    mix_heaps[i] = i % 2 == 0 ? heap_make() : mi_heap_new_ex(0, false, 0);
  }
  for (size_t step = 0; step < check_scaled(200000); step++) {
    mix_block_t* b = &mix_blocks[rng_below(&rng, MIX_BLOCKS)];
    switch (rng_below(&rng, 8)) {
    case 0:
    case 1: { /* resize, perhaps into another heap */
      if (b->p == NULL) break;
      mix_check(b);
      size_t size = rng_size(&rng, rng_below(&rng, 300) == 0 ? 4 * MIB : 6000);
      unsigned to = (unsigned)rng_below(&rng, MIX_HEAPS + 1);
      void* before = opaque(b->p);
      b->p = (char*)opaque(rng_below(&rng, 2) == 0
                               ? mi_heap_realloc(mix_heaps[to], b->p, size)
                               : mi_heap_realloc_aligned(mix_heaps[to], b->p, size, 64));
      REQUIRE(b->p != NULL);
      if (b->p != before) b->heap = to;
      size_t kept = mix_bytes(b) < size ? mix_bytes(b) : size;
      REQUIRE(pattern_holds(b->p, kept, b->seed));
      b->size = size;
      pattern_fill(b->p, mix_bytes(b), b->seed);
      mix_check(b);
      break;
    }
    case 2:
      if (rng_below(&rng, 400) == 0) {
        unsigned gone = (unsigned)rng_below(&rng, MIX_HEAPS);
        bool destroy = rng_below(&rng, 2) == 0 && gone % 2 == 0;
        for (size_t i = 0; i < MIX_BLOCKS; i++) {
          mix_block_t* other = &mix_blocks[i];
          if (other->p == NULL || other->heap != gone) continue;
          mix_check(other);
          other->heap = MIX_HEAPS;
          if (destroy) other->p = NULL;
        }
        if (rng_below(&rng, 3) == 0) mi_heap_set_default(mix_heaps[gone]);
        if (destroy || rng_below(&rng, 2) == 0) {
          if (gone % 2 == 0 && !destroy) {
            mi_heap_delete(mix_heaps[gone]);
          } else {
            mi_heap_destroy(mix_heaps[gone]);
          }
        } else {
          mi_heap_delete(mix_heaps[gone]);
        }
        mix_heaps[gone] = gone % 2 == 0 ? heap_make() : mi_heap_new_ex(0, false, 0);
      } else if (rng_below(&rng, 400) == 0) {
        mi_heap_collect(mix_heaps[rng_below(&rng, MIX_HEAPS + 1)], rng_below(&rng, 2) == 0);
      } else if (rng_below(&rng, 2000) == 0) {
        mi_collect_reduce(rng_below(&rng, 4 * MIB));
      }
      break;
    default:
      mix_free(b);
      if (rng_below(&rng, 5) != 0) mix_make(b, &rng);
      break;
    }
    if (step % 20000 == 0) {
      size_t expected[MIX_HEAPS + 1] = {0};
      for (size_t i = 0; i < MIX_BLOCKS; i++) {
        if (mix_blocks[i].p != NULL) expected[mix_blocks[i].heap]++;
      }
      expected[MIX_HEAPS] += others;
      for (size_t i = 0; i <= MIX_HEAPS; i++) CHECK_EQ(live_blocks(mix_heaps[i]), expected[i]);
    }
  }
  for (size_t i = 0; i < MIX_BLOCKS; i++) mix_free(&mix_blocks[i]);
  for (size_t i = 0; i < MIX_HEAPS; i++) {
    CHECK_EQ(live_blocks(mix_heaps[i]), 0);
    mi_heap_delete(mix_heaps[i]);
  }
  CHECK_EQ(live_blocks(mi_heap_get_backing()), others);
}

static const check_case_t cases[] = {
    CASE(reallocation_moves_a_block_to_the_heap_that_is_named),
    CASE(large_blocks_that_grow_change_their_heap),
    CASE(plain_realloc_moves_to_the_default_heap),
    CASE(blocks_of_several_heaps_are_used_in_any_order),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
