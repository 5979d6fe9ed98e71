/* visit_audit.h - what the tests of visits share: a table of the expected blocks, a visitor that
 * checks every call, and random contents for heaps. */
#pragma once
#include "probe.h"
#include <mimalloc.h>

/* ---- a table of the expected blocks ------------------------------------------------- */

#define TABLE_MAX 60000

typedef struct entry_s {
  char* p;
  size_t size;
  size_t seen;
  bool may_go; /* another thread may release it at any time */
} entry_t;

typedef struct table_s {
  entry_t entries[TABLE_MAX];
  size_t count;
} table_t;

CHECK_UNUSED static table_t table;

CHECK_UNUSED static void table_add(table_t* t, void* p, size_t size) {
  REQUIRE(p != NULL && t->count < TABLE_MAX);
  entry_t e = {(char*)p, size, 0, false};
  t->entries[t->count++] = e;
}

CHECK_UNUSED static int by_address(const void* a, const void* b) {
  const char* p = ((const entry_t*)a)->p;
  const char* q = ((const entry_t*)b)->p;
  return p < q ? -1 : p > q;
}

/* qsort may allocate; a heap sort does not, and is quick enough. */
CHECK_UNUSED static void table_sort(table_t* t) {
  size_t n = t->count;
  entry_t* e = t->entries;
  for (size_t i = n / 2; n > 1;) {
    entry_t moving;
    if (i > 0) {
      moving = e[--i];
    } else {
      moving = e[--n];
      e[n] = e[0];
    }
    size_t at = i;
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
      if (child + 1 < n && by_address(&e[child], &e[child + 1]) < 0) child++;
      if (by_address(&moving, &e[child]) >= 0) break;
      e[at] = e[child];
    }
    e[at] = moving;
  }
  for (size_t k = 1; k < t->count; k++) REQUIRE(e[k - 1].p < e[k].p);
}

/* The entry in [start, start + size); the table is sorted. */
CHECK_UNUSED static entry_t* table_find(table_t* t, const char* start, size_t size) {
  size_t low = 0;
  size_t high = t->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (t->entries[middle].p < start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < t->count && t->entries[low].p < start + size ? &t->entries[low] : NULL;
}

/* ---- a visitor that checks every call ----------------------------------------------- */

typedef struct audit_s {
  table_t* table;
  const mi_heap_t* heap; /* the heap that the visitor must receive */
  mi_heap_area_t area;
  size_t areas;
  size_t area_blocks; /* seen in this area */
  size_t blocks;
  size_t used;    /* the sum over all areas */
  size_t strange; /* blocks that are not in the table */
  bool with_blocks;
  bool moving; /* other threads release blocks: `used` may be more than what is seen */
} audit_t;

CHECK_UNUSED static void audit_area_end(audit_t* a) {
  if (a->areas == 0 || !a->with_blocks) return;
  if (a->area_blocks != a->area.used) {
    check_fail("area of %zu bytes per block says %zu in use, %zu seen\n", a->area.block_size,
               a->area.used, a->area_blocks);
  }
}

CHECK_UNUSED static bool on_audit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                                  size_t size, void* arg) {
  audit_t* a = (audit_t*)arg;
  CHECK_SAME(heap, a->heap);
  CHECK_EQ(size, area->block_size);
  if (block == NULL) {
    audit_area_end(a);
    a->area = *area;
    a->areas++;
    a->area_blocks = 0;
    a->used += area->used;
    bool ok = CHECK_GE(area->reserved, area->committed);
    ok = CHECK_GE(area->committed, area->used * area->block_size) && ok;
    ok = CHECK_GE(area->full_block_size, area->block_size) && ok;
    ok = CHECK_GE(area->block_size, 8) && ok;
    ok = CHECK_NOT_NULL(area->blocks) && ok;
    if (!ok) {
      check_note("area %p: reserved %zu, committed %zu, used %zu, block %zu of %zu\n", area->blocks,
                 area->reserved, area->committed, area->used, area->block_size,
                 area->full_block_size);
    }
    return true;
  }
  a->blocks++;
  a->area_blocks++;
  if (!CHECK(a->areas > 0 && a->with_blocks)) return true;
  CHECK_SAME(area->blocks, a->area.blocks);
  size_t offset = (size_t)((char*)block - (char*)area->blocks);
  CHECK_EQ(offset % area->full_block_size, 0);
  CHECK_LE(offset + size, area->reserved);
  entry_t* e = a->table == NULL ? NULL : table_find(a->table, (char*)block, size);
  if (e == NULL) {
    a->strange++;
  } else {
    e->seen++;
    CHECK_LE(e->size, size);
  }
  return true;
}

CHECK_UNUSED static void audit_begin(audit_t* a, table_t* t, const mi_heap_t* heap) {
  memset(a, 0, sizeof *a);
  a->table = t;
  a->heap = heap;
  a->with_blocks = true;
  for (size_t i = 0; t != NULL && i < t->count; i++) t->entries[i].seen = 0;
}

/* Each block that stays was seen once; the others at most once. */
CHECK_UNUSED static void audit_end(audit_t* a) {
  audit_area_end(a);
  size_t missed = 0;
  size_t twice = 0;
  for (size_t i = 0; i < a->table->count; i++) {
    const entry_t* e = &a->table->entries[i];
    missed += e->seen == 0 && !e->may_go;
    twice += e->seen > 1;
  }
  CHECK_EQ(missed, 0);
  CHECK_EQ(twice, 0);
}

/* Visits the whole heap, which has only the blocks of the table. */
CHECK_UNUSED static void audit_heap(mi_heap_t* heap, table_t* t) {
  audit_t a;
  audit_begin(&a, t, heap);
  bool done = mi_heap_visit_blocks(heap, true, &on_audit, &a);
  CHECK_EQ(done, a.areas > 0);
  audit_end(&a);
  CHECK_EQ(a.strange, 0);
  CHECK_EQ(a.blocks, t->count);
  CHECK_EQ(a.used, t->count);
  /* The same areas without blocks. */
  audit_t b;
  audit_begin(&b, NULL, heap);
  b.with_blocks = false;
  mi_heap_visit_blocks(heap, false, &on_audit, &b);
  CHECK_EQ(b.areas, a.areas);
  CHECK_EQ(b.used, a.used);
  CHECK_EQ(b.blocks, 0);
}

/* ---- random contents ---------------------------------------------------------------- */

CHECK_UNUSED static void fill_randomly(mi_heap_t* heap, table_t* t, size_t count, rng_t* rng) {
  for (size_t i = 0; i < count; i++) {
    size_t size = rng_size(rng, rng_below(rng, 200) == 0 ? 3 * MIB : 3000);
    void* p;
    switch (rng_below(rng, 6)) {
    case 0:
      p = mi_heap_malloc_aligned_at(heap, size, (size_t)8 << rng_below(rng, 12), 8);
      break;
    case 1:
      p = mi_heap_malloc_aligned(heap, size, (size_t)8 << rng_below(rng, 15));
      break;
    case 2:
      p = mi_heap_zalloc(heap, size);
      break;
    default:
      p = mi_heap_malloc(heap, size);
      break;
    }
    table_add(t, p, size);
  }
}

/* Removes an entry from the table; the caller releases the block. */
CHECK_UNUSED static void* table_take(table_t* t, size_t i) {
  void* p = t->entries[i].p;
  t->entries[i] = t->entries[--t->count];
  return p;
}

CHECK_UNUSED static void* free_list[TABLE_MAX];

CHECK_UNUSED static size_t free_count;

CHECK_UNUSED static void* free_the_list(void* arg) {
  (void)arg;
  for (size_t i = 0; i < free_count; i++) mi_free(free_list[i]);
  return NULL;
}

CHECK_UNUSED static void free_part(table_t* t, size_t one_in, bool by_others, rng_t* rng) {
  free_count = 0;
  for (size_t i = 0; i < t->count;) {
    if (rng_below(rng, one_in) == 0) {
      free_list[free_count++] = table_take(t, i);
    } else {
      i++;
    }
  }
  if (by_others) {
    thread_join(thread_start(&free_the_list, NULL));
  } else {
    free_the_list(NULL);
  }
}
