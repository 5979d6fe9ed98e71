/* heap_threads.h - what the tests of heaps with several threads share: blocks that describe
 * themselves, slots through which threads exchange blocks, and a flag to stop. */
#pragma once
#include "probe.h"
#include <mimalloc.h>
#include <sched.h>

/* ---- blocks that describe themselves ----------------------------------------------- */

typedef struct head_s {
  size_t size;
  int* out; /* counts the blocks of its heap that other threads hold; may be NULL */
  unsigned seed;
  unsigned check;
} head_t;

CHECK_UNUSED static unsigned head_checksum(const head_t* h) {
  return (unsigned)(h->size * 2654435761u) ^ h->seed ^ 0x2545f491u;
}

CHECK_UNUSED static void block_fill(head_t* h, size_t size, unsigned seed, int* out) {
  h->size = size;
  h->out = out;
  h->seed = seed;
  h->check = head_checksum(h);
  unsigned char* bytes = (unsigned char*)h;
  size_t step = size > 2000 ? 257 : 1;
  for (size_t i = sizeof *h; i < size; i += step) bytes[i] = pattern_at(i, seed);
  if (size > sizeof *h) bytes[size - 1] = pattern_at(size - 1, seed);
}

CHECK_UNUSED static void block_check(const head_t* h, size_t kept) {
  REQUIRE(h->check == head_checksum(h));
  const unsigned char* bytes = (const unsigned char*)h;
  size_t step = h->size > 2000 ? 257 : 1;
  for (size_t i = sizeof *h; i < h->size && i < kept; i += step) {
    if (bytes[i] == pattern_at(i, h->seed)) continue;
    check_fail("block %p of %zu bytes: byte %zu is 0x%02x, not 0x%02x\n", (const void*)h, h->size,
               i, bytes[i], pattern_at(i, h->seed));
    _exit(1);
  }
}

CHECK_UNUSED static void block_free(head_t* h) {
  if (h == NULL) return;
  block_check(h, SIZE_MAX);
  REQUIRE(mi_usable_size(h) >= h->size);
  int* out = h->out;
  h->check = 0;
  mi_free(h);
  if (out != NULL) __atomic_fetch_sub(out, 1, __ATOMIC_RELEASE);
}

CHECK_UNUSED static size_t block_size(rng_t* rng) {
  size_t kind = rng_below(rng, 200);
  size_t size = rng_size(rng, kind == 0 ? MIB : kind < 6 ? 200000 : 2500);
  return size < sizeof(head_t) ? sizeof(head_t) : size;
}

CHECK_UNUSED static head_t* block_make(mi_heap_t* heap, rng_t* rng, int* out) {
  size_t size = block_size(rng);
  head_t* h;
  switch (rng_below(rng, 8)) {
  case 0:
    h = (head_t*)mi_heap_malloc_aligned_at(heap, size, 256, 16);
    break;
  case 1:
    h = (head_t*)mi_heap_zalloc(heap, size);
    REQUIRE(h != NULL && all_bytes_are(h, size, 0));
    break;
  default:
    h = (head_t*)mi_heap_malloc(heap, size);
    break;
  }
  REQUIRE(h != NULL);
  block_fill(h, size, (unsigned)rng_next(rng), out);
  return h;
}

/* If the block moves, it moves into the default heap of the calling thread. */
CHECK_UNUSED static head_t* block_resize(head_t* h, rng_t* rng) {
  block_check(h, SIZE_MAX);
  size_t size = block_size(rng);
  size_t kept = h->size < size ? h->size : size;
  h = (head_t*)(rng_below(rng, 4) == 0 ? mi_realloc_aligned(h, size, 64) : mi_realloc(h, size));
  REQUIRE(h != NULL);
  block_check(h, kept);
  block_fill(h, size, (unsigned)rng_next(rng), h->out);
  return h;
}

CHECK_UNUSED static mi_heap_t* heap_make(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  return heap;
}

#define SLOTS 512

CHECK_UNUSED static head_t* slots[SLOTS]; /* exchanged atomically */

CHECK_UNUSED static head_t* slot_swap(size_t i, head_t* h) {
  return __atomic_exchange_n(&slots[i], h, __ATOMIC_ACQ_REL);
}

CHECK_UNUSED static void slots_clear(void) {
  for (size_t i = 0; i < SLOTS; i++) block_free(slot_swap(i, NULL));
}

CHECK_UNUSED static int stop; /* atomic */

CHECK_UNUSED static bool count_visited(const mi_heap_t* heap, const mi_heap_area_t* area,
                                       void* block, size_t size, void* arg) {
  (void)heap;
  (void)area;
  (void)size;
  if (block != NULL) ++*(size_t*)arg;
  return true;
}

CHECK_UNUSED static bool stopped(void) { return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0; }

/* ---- other threads free and resize while a heap is deleted ---------------------------- */

/* Takes blocks out of the slots, frees them or puts them back at another size. */
CHECK_UNUSED static void* free_and_resize(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  mi_heap_t* own = heap_make(); /* a thread with heaps checks which heap a block belongs to */
  CHECK_NOT_NULL(mi_heap_malloc(own, 100));
  if ((uintptr_t)arg % 2 == 0) mi_heap_set_default(own);
  while (!stopped()) {
    head_t* h = slot_swap(rng_below(&rng, SLOTS), NULL);
    if (h == NULL) {
      if (rng_below(&rng, 64) == 0) sched_yield();
      continue;
    }
    if (rng_below(&rng, 3) == 0) {
      h = block_resize(h, &rng);
      h = slot_swap(rng_below(&rng, SLOTS), h);
    }
    block_free(h);
  }
  return NULL;
}

CHECK_UNUSED static void* ask_about_blocks(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  size_t known = 0;
  while (!stopped()) {
    /* Any address may be asked about at any time, also after the block was freed. */
    head_t* h = __atomic_load_n(&slots[rng_below(&rng, SLOTS)], __ATOMIC_RELAXED);
    const void* p = (const void*)((uintptr_t)h + rng_below(&rng, 100000));
    mi_heap_t* heap = mi_heap_of(p);
    known += heap != NULL;
    known += mi_any_heap_contains(p);
    known += mi_heap_contains_block(heap, p);
    known += mi_heap_contains(NULL, p);
    known += mi_is_in_heap_region(p);
  }
  void* mine = mi_malloc(10); /* the slots may have been empty at each look */
  known += mi_any_heap_contains(mine);
  mi_free(mine);
  CHECK_GE(known, 1);
  return NULL;
}
