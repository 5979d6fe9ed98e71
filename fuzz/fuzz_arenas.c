/* fuzz_arenas.c - memory that the program gives or reserves, with odd addresses, sizes and ids.
 *
 * The model knows each arena that was added, by its rule: the range narrowed to slices, refused
 * where less than one is left or something else lies there. Heaps are made in them, and their
 * blocks must lie inside, and those of others outside of exclusive ones. Visits, statistics and
 * prints are on top. An input is a list of operations, a byte and its arguments each.
 */
#include "fuzz.h"
#include "mimalloc-stats.h"
#include "mimalloc.h"
#include <math.h>

#ifndef FUZZ_OVERRIDE
#define FUZZ_OVERRIDE 0
#endif

enum { ARENAS = 192, ARENAS_SURE = 180, HEAPS = 8, BLOCKS = 400 };
enum { DELETED = -2 }; /* the heap of a block whose heap was deleted */

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SLICE (64 * KIB)
#define LARGEST ((size_t)65536 * 4294967294u)
#define REGION (64 * MIB)

typedef struct arena_s {
  char* start;
  size_t size;
  mi_arena_id_t id;
  bool exclusive, usable; /* not usable: the fuzzer has mapped no memory there */
} range_t;

typedef struct block_s {
  char* p;
  size_t asked, usable;
  int heap; /* -1: the default heap */
  unsigned char mark;
} block_t;

static range_t arenas[ARENAS + 64];
static size_t arena_count;
static struct {
  mi_heap_t* heap;
  const range_t* arena; /* NULL: any */
  bool no_destroy;
} heaps[HEAPS];
static block_t blocks[BLOCKS];
static size_t block_count;
static unsigned char marks;
static input_t input;
static int bad_errors;
static bool may_run_out, was_reset;
static char* regions[2]; /* accessible; not yet */
static char json[64 * 1024];

static void on_error(int code, void* arg) {
  (void)arg;
  if (code != ENOMEM && code != EOVERFLOW) bad_errors++;
}

/* ---- arenas ------------------------------------------------------------------------ */

static bool overlaps(const char* from, const char* to) {
  for (size_t i = 0; i < arena_count; i++)
    if (from < arenas[i].start + arenas[i].size && arenas[i].start < to) return true;
  return false;
}

static void check_arena(const range_t* a) {
  size_t size = 1;
  FUZZ_CHECK(mi_arena_area(a->id, &size) == a->start && size == a->size);
  FUZZ_CHECK(mi_arena_area(a->id, NULL) == a->start);
  FUZZ_CHECK(mi_arena_contains(a->id, a->start) && mi_arena_contains(a->id, a->start + size - 1));
  FUZZ_CHECK(!mi_arena_contains(a->id, a->start - 1) && !mi_arena_contains(a->id, a->start + size));
  FUZZ_CHECK(mi_is_in_heap_region(a->start) && mi_is_in_heap_region(a->start + size - 1));
}

static void add(void* start, size_t size, mi_arena_id_t id, bool exclusive, bool usable) {
  for (size_t i = 0; i < arena_count; i++) FUZZ_CHECK(arenas[i].id != id);
  FUZZ_CHECK(arena_count < sizeof arenas / sizeof *arenas);
  range_t* a = &arenas[arena_count++];
  *a = (range_t){start, size, id, exclusive, usable};
  check_arena(a);
}

static size_t take_length(size_t max) {
  uint8_t k = take8(&input);
  size_t n = take8(&input);
  switch (k % 8) {
  case 0:
    return n;
  case 1:
    return n * 4096;
  case 2:
  case 3:
  case 4:
    return n * SLICE;
  case 5:
    return n * MIB % max;
  case 6:
    return n * SLICE + k / 8 * 2047;
  default:
    return take64(&input) % max;
  }
}

static void op_manage(void) {
  uint8_t flags = take8(&input);
  bool committed = (flags & 1) != 0, large = (flags & 2) != 0, exclusive = (flags & 8) != 0;
  bool zero = (flags & 4) != 0;
  bool without_id = !exclusive && (flags & 16) != 0;
  int node = (int8_t)take8(&input) * 1000003;
  size_t offset = take_length(REGION), size = take_length(REGION - offset % REGION);
  offset %= REGION;
  if (size > REGION - offset) size = REGION - offset;
  char* start = regions[committed || large ? 0 : 1] + offset;
  uintptr_t from = ((uintptr_t)start + SLICE - 1) & ~(SLICE - 1);
  uintptr_t to = ((uintptr_t)start + size) & ~(SLICE - 1);
  bool fits = from < to && !overlaps((char*)from, (char*)to);
  if (fits && !zero && (committed || large))
    for (uintptr_t a = from; a < to; a += 4000) *(char*)a = 0x55;
  mi_arena_id_t id = -7;
  bool added = without_id ? mi_manage_os_memory(start, size, committed, large, zero, node)
                          : mi_manage_os_memory_ex(start, size, committed, large, zero, node,
                                                   exclusive, &id);
  TRACE("  manage %p, %zu bytes, flags %d: %d, id %d\n", (void*)start, size, flags, added, id);
  if (added != fits && (fits ? arena_count < ARENAS_SURE : true))
    FUZZ_FAIL("%p, %zu bytes: %s", (void*)start, size, added ? "taken" : "refused");
  if (!added) {
    FUZZ_CHECK(without_id || id == 0);
    return;
  }
  if (without_id)
    for (id = 1; mi_arena_area(id, NULL) != (void*)from;) FUZZ_CHECK(id++ < 1000);
  add((void*)from, to - from, id, exclusive, true);
}

/* Addresses that are not mapped, or cannot be: only books are kept about these. */
static void op_manage_junk(void) {
  uintptr_t start = (uintptr_t)take64(&input);
  size_t size = (size_t)take64(&input);
  uint8_t k = take8(&input);
  if (k % 2 == 0) start &= ((uintptr_t)1 << 45) - 1, size %= 16 * GIB;
  if (k % 16 == 1) start = 0;
  uintptr_t end, from = (start + SLICE - 1) & ~(SLICE - 1);
  bool wraps = __builtin_add_overflow(start, size, &end) || from < start;
  uintptr_t to = end & ~(SLICE - 1);
  bool names = end <= (uintptr_t)1 << 48;
  bool fits = start != 0 && !wraps && from < to && names && !overlaps((char*)from, (char*)to);
  if (fits && k % 2 != 0) return; /* its map alone would take long */
  mi_arena_id_t id = -7;
  bool added = mi_manage_os_memory_ex((void*)start, size, false, false, false, k, true, &id);
  TRACE("  manage junk %zx, %zu bytes: %d, id %d\n", start, size, added, id);
  if (added && !fits) FUZZ_FAIL("%zx, %zu bytes: taken", start, size);
  if (added)
    add((void*)from, to - from, id, true, false);
  else
    FUZZ_CHECK(id == 0);
}

static void op_reserve(void) {
  uint8_t flags = take8(&input);
  bool commit = (flags & 1) != 0, large = (flags & 2) != 0, exclusive = (flags & 4) != 0;
  size_t size = take_length(256 * MIB);
  if (flags >= 240) size = SIZE_MAX - size;
  if (flags >= 224 && flags < 240) size = LARGEST - 4 * SLICE + size;
  mi_arena_id_t id = -7;
  int e = mi_reserve_os_memory_ex(size, commit, large, exclusive, &id);
  TRACE("  reserve %zu bytes: %d, id %d\n", size, e, id);
  FUZZ_CHECK(e == 0 || e == ENOMEM);
  FUZZ_CHECK((e == 0) == (id > 0));
  if (size == 0 || size > LARGEST) FUZZ_CHECK(e != 0);
  /* Secure builds choose random addresses; op_manage_junk may have given them to the library. */
  bool sure = MI_SECURE == 0 && arena_count < ARENAS_SURE;
  if (size > 0 && size <= 256 * MIB && sure) FUZZ_CHECK(e == 0);
  if (e != 0) return;
  size_t told;
  char* start = mi_arena_area(id, &told);
  size_t rounded = (size + SLICE - 1) & ~(SLICE - 1);
  FUZZ_CHECK(start != NULL && (told == rounded || (large && told >= rounded)));
  FUZZ_CHECK(!overlaps(start, start + told));
  add(start, told, id, exclusive, true);
}

/* Machines that have huge pages ready give some: as many as are asked for, at most. */
static void op_reserve_huge(void) {
  uint8_t k = take8(&input);
  size_t pages = take8(&input), limit = take16(&input) % 20 + 1;
  int node = (int)(uint32_t)take64(&input);
  if (pages >= 200) pages = (size_t)take64(&input);
  mi_arena_id_t id = -7;
  int e;
  TRACE("  reserve %zu huge pages, kind %d, node %d\n", pages, k, node);
  switch (k % 4) {
  case 0:
    e = mi_reserve_huge_os_pages_at(pages, node, limit);
    break;
  case 1:
    e = mi_reserve_huge_os_pages_at_ex(pages, node, limit, true, &id);
    FUZZ_CHECK(id == 0 || (id > 0 && mi_arena_area(id, NULL) != NULL));
    if (e != 0 || pages == 0) FUZZ_CHECK(id == 0);
    break;
  case 2:
    e = mi_reserve_huge_os_pages_interleave(pages, take8(&input) % 2 == 0 ? (size_t)node : 3,
                                            limit);
    break;
  default: {
    uint64_t bits = take64(&input);
    double seconds;
    memcpy(&seconds, &bits, sizeof seconds);
    if (seconds > 1 || !(seconds > 0)) seconds = isnan(seconds) ? seconds : 0.01;
    size_t got = 77;
    e = mi_reserve_huge_os_pages(pages, seconds, &got);
    FUZZ_CHECK(got == (e == 0 ? pages : 0));
    break;
  }
  }
  FUZZ_CHECK(e == 0 || e == ENOMEM);
  if (pages == 0) FUZZ_CHECK(e == 0);
}

static void op_ask(void) {
  mi_arena_id_t id = (int)(uint32_t)take64(&input);
  if (id % 2 == 0) id = id / 2 % 300;
  const void* p = (const void*)(uintptr_t)take64(&input);
  size_t size = 3;
  char* start = mi_arena_area(id, &size);
  FUZZ_CHECK((start == NULL) == (size == 0));
  bool inside = start != NULL && (uintptr_t)p - (uintptr_t)start < size;
  FUZZ_CHECK(mi_arena_contains(id, p) == inside);
  FUZZ_CHECK(mi_arena_min_alignment() == SLICE && mi_arena_min_size() == SLICE);
  if (arena_count > 0) check_arena(&arenas[take8(&input) % arena_count]);
}

/* ---- heaps and blocks ------------------------------------------------------------------ */

static void check_block(const block_t* b) {
  FUZZ_CHECK(mi_usable_size(b->p) == b->usable);
  if (b->usable > 0)
    FUZZ_CHECK((unsigned char)b->p[0] == b->mark && (unsigned char)b->p[b->usable - 1] == b->mark);
  if (b->heap >= 0) FUZZ_CHECK(mi_heap_contains_block(heaps[b->heap].heap, b->p));
}

static void check_place(const char* p, size_t size, int heap) {
  if (heap == DELETED) return; /* resized where it lay, in an arena of a heap that is gone */
  const range_t* home = heap >= 0 ? heaps[heap].arena : NULL;
  if (home != NULL) {
    if (p < home->start || p + size > home->start + home->size)
      FUZZ_FAIL("block %p of %zu bytes is outside of arena %d", (const void*)p, size, home->id);
    return;
  }
  for (size_t i = 0; i < arena_count; i++)
    if (arenas[i].exclusive && arenas[i].usable && p >= arenas[i].start &&
        p < arenas[i].start + arenas[i].size)
      FUZZ_FAIL("block %p is in exclusive arena %d", (const void*)p, arenas[i].id);
}

static void mark(block_t* b) {
  b->mark = ++marks;
  if (b->usable > 0) b->p[0] = b->p[b->usable - 1] = (char)b->mark;
}

static void record(char* p, size_t size, int heap) {
  block_t b = {.p = p, .asked = size, .usable = mi_usable_size(p), .heap = heap};
  FUZZ_CHECK(b.usable >= size);
  check_place(p, b.usable, heap);
  for (size_t i = 0; i < block_count; i++)
    if (p < blocks[i].p + blocks[i].usable && blocks[i].p < p + b.usable)
      FUZZ_FAIL("block %p of %zu bytes overlaps %p", (void*)p, b.usable, (void*)blocks[i].p);
  mark(&b);
  blocks[block_count++] = b;
}

static bool alloc_one(int kind, int h, size_t size, size_t align) {
  mi_heap_t* heap = h >= 0 ? heaps[h].heap : NULL;
  char* p;
  switch (kind % 4) {
  case 0:
    p = mi_heap_malloc(heap, size);
    break;
  case 1:
    p = mi_heap_zalloc(heap, size);
    break;
  case 2:
    p = mi_heap_malloc_aligned(heap, size, align);
    break;
  default:
    p = mi_heap_zalloc_aligned(heap, size, align);
    break;
  }
  p = launder(p);
  TRACE("  alloc %d of heap %d, %zu bytes: %p\n", kind % 4, h, size, (void*)p);
  if (p == NULL) {
    bool full = h >= 0 && heaps[h].arena != NULL;
    if (!full && !may_run_out && size <= 64 * MIB) FUZZ_FAIL("no block of %zu bytes", size);
    return false;
  }
  if (kind % 4 >= 2) FUZZ_CHECK((uintptr_t)p % align == 0);
  if (kind % 2 == 1)
    for (size_t i = 0; i < size; i += size / 100 + 1) FUZZ_CHECK(p[i] == 0);
  record(p, size, h);
  return true;
}

static int take_heap(void) {
  int h = take8(&input) % (HEAPS + 1);
  return h < HEAPS && heaps[h].heap != NULL ? h : -1;
}

static size_t take_size(void) {
  size_t k = take8(&input), n = take8(&input);
  if (k == 255) return 600 * MIB; /* no arena's */
  return k < 128 ? n * (1 + k % 8) : k < 240 ? n * 1024 : n * SLICE;
}

static void op_alloc(void) {
  int kind = take8(&input), h = take_heap();
  if (block_count < BLOCKS) (void)alloc_one(kind, h, take_size(), (size_t)1 << kind / 4 % 21);
}

static void free_one(size_t i) {
  check_block(&blocks[i]);
  mi_free(blocks[i].p);
  blocks[i] = blocks[--block_count];
}

/* Until there is no room; what an exclusive arena gave fits into it. */
static void op_fill(void) {
  int kind = take8(&input), h = take_heap();
  size_t size = take_size() + 1, total = 0, before = block_count;
  while (block_count < BLOCKS && total < 128 * MIB && alloc_one(kind, h, size, 64))
    total += blocks[block_count - 1].usable;
  if (h >= 0 && heaps[h].arena != NULL) FUZZ_CHECK(total <= heaps[h].arena->size);
  size_t keep = take8(&input) % 8;
  for (size_t i = block_count; i > before; i--)
    if (keep == 0 || i % keep != 0) free_one(i - 1);
}

static void op_free(void) {
  size_t i = take16(&input);
  if (block_count > 0) free_one(i % block_count);
}

static void op_resize(void) {
  size_t i = take16(&input), size = take_size();
  int h = take_heap();
  if (block_count == 0) return;
  block_t* b = &blocks[i % block_count];
  check_block(b);
  mi_heap_t* heap = h >= 0 ? heaps[h].heap : NULL;
  char* q = launder(mi_heap_realloc(heap, b->p, size));
  TRACE("  resize %p to %zu bytes, heap %d: %p\n", (void*)b->p, size, h, (void*)q);
  if (q == NULL) {
    FUZZ_CHECK(may_run_out || (h >= 0 && heaps[h].arena != NULL));
    check_block(b);
    return;
  }
  if (size > 0) FUZZ_CHECK((unsigned char)q[0] == b->mark);
  int owner = q == b->p ? b->heap : h;
  *b = blocks[--block_count];
  record(q, size, owner);
}

/* A block that changes hands is looked at for its contents only. */
static void orphan(int h) {
  for (size_t i = 0; i < block_count; i++)
    if (blocks[i].heap == h) blocks[i].heap = DELETED;
}

static void op_heap(void) {
  uint8_t k = take8(&input);
  int h = take8(&input) % HEAPS;
  mi_heap_t* heap = heaps[h].heap;
  if (heap == NULL) {
    uint8_t which = take8(&input);
    int tag = k % 4 == 0 ? k : 0;
    const range_t* a = arena_count > 0 && which % 8 != 0 ? &arenas[which % arena_count] : NULL;
    if (a != NULL && !a->usable) a = NULL;
    heap = k % 2 == 0 ? mi_heap_new_ex(tag, k % 3 != 0, a != NULL ? a->id : 0)
                      : mi_heap_new_in_arena(a != NULL ? a->id : 0);
    FUZZ_CHECK(heap != NULL);
    heaps[h].heap = heap;
    heaps[h].arena = a;
    heaps[h].no_destroy = k % 2 == 0 && k % 3 == 0;
    TRACE("  heap %d in arena %d, tag %d\n", h, a != NULL ? a->id : 0, tag);
    return;
  }
  TRACE("  heap %d, kind %d\n", h, k % 5);
  switch (k % 5) {
  case 0:
    mi_heap_delete(heap);
    orphan(h);
    heaps[h].heap = NULL;
    break;
  case 1:
    mi_heap_destroy(heap);
    if (heaps[h].no_destroy) orphan(h);
    for (size_t i = block_count; i > 0; i--)
      if (blocks[i - 1].heap == h) blocks[i - 1] = blocks[--block_count];
    heaps[h].heap = NULL;
    break;
  case 2:
    mi_heap_collect(heap, true);
    break;
  case 3:
    mi_heap_set_numa_affinity(heap, (int)(uint32_t)take64(&input));
    break;
  default:
    FUZZ_CHECK(mi_heap_new_in_arena(-1 - k) == NULL && mi_heap_new_in_arena(257 + k) == NULL);
    break;
  }
}

/* Memory that is ours is not taken once more, wherever the range begins in it. */
static void op_manage_ours(void) {
  size_t i = take16(&input), offset = take8(&input) * SLICE, size = (1 + take8(&input)) * SLICE;
  if (block_count == 0) return;
  const block_t* b = &blocks[i % block_count];
  char* start = b->p + (b->usable > 0 ? offset % b->usable : 0);
  mi_arena_id_t id = -7;
  /* The slice that the block's byte lies in has to be among those that are given. */
  start = (char*)((uintptr_t)start & ~(SLICE - 1));
  TRACE("  manage what is ours, %p, %zu bytes\n", (void*)start, size);
  FUZZ_CHECK(!mi_manage_os_memory_ex(start, size, true, false, false, -1, true, &id) && id == 0);
}

/* ---- on top ------------------------------------------------------------------------------ */

typedef struct visit_s {
  size_t blocks, bytes;
  int heap;
} visit_t;

static bool on_visit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  visit_t* v = arg;
  (void)heap;
  if (block == NULL) {
    if (v->heap >= 0) check_place(area->blocks, area->committed, v->heap);
    return true;
  }
  v->blocks++;
  v->bytes += size;
  return true;
}

static void op_visit(void) {
  int h = take_heap();
  visit_t v = {.heap = h};
  if (h >= 0) {
    (void)mi_heap_visit_blocks(heaps[h].heap, true, &on_visit, &v);
    size_t there = 0;
    for (size_t i = 0; i < block_count; i++) there += blocks[i].heap == h;
    if (v.blocks != there) FUZZ_FAIL("heap %d has %zu blocks, %zu visited", h, there, v.blocks);
    mi_stats_t_decl(stats);
    FUZZ_CHECK(mi_heap_stats_get(heaps[h].heap, &stats));
    FUZZ_CHECK((size_t)(stats.malloc_normal.current + stats.malloc_huge.current) >= v.bytes);
  } else {
    (void)mi_abandoned_visit_blocks(NULL, take8(&input) % 4 - 1, true, &on_visit, &v);
  }
}

static void op_stats(void) {
  uint8_t k = take8(&input);
  mi_stats_t_decl(stats);
  size_t reserved = 0;
  switch (k % 5) {
  case 0:
    FUZZ_CHECK(mi_stats_get(&stats));
    for (size_t i = 0; i < arena_count; i++) reserved += arenas[i].size;
    FUZZ_CHECK((size_t)stats.reserved.current >= reserved);
    FUZZ_CHECK(was_reset || (size_t)stats.arena_count.total >= arena_count);
    FUZZ_CHECK(stats.committed.current <= stats.reserved.current);
    break;
  case 1:
    FUZZ_CHECK(mi_stats_get_json(sizeof json, json) == json && json_is_valid(json));
    break;
  case 2:
    mi_debug_show_arenas((k & 8) != 0, (k & 16) != 0, (k & 32) != 0);
    break;
  case 3:
    mi_stats_print_out(&on_output, NULL);
    break;
  default:
    was_reset = true; /* totals count from here */
    mi_stats_reset();
    break;
  }
}

static void op_option(void) {
  static const mi_option_t which[] = {
      mi_option_purge_delay,           mi_option_arena_eager_commit, mi_option_purge_decommits,
      mi_option_allow_large_os_pages,  mi_option_arena_reserve,      mi_option_arena_purge_mult,
      mi_option_arena_max_object_size, mi_option_use_numa_nodes,     mi_option_allow_thp,
      mi_option_disallow_os_alloc};
  size_t i = take8(&input) % (sizeof which / sizeof *which);
  long value = (int8_t)take8(&input);
  if (which[i] == mi_option_disallow_os_alloc) {
    if (FUZZ_OVERRIDE) return; /* the C library could not go on */
    if (value == 1) may_run_out = true;
  }
  TRACE("  option %d = %ld\n", (int)which[i], value);
  mi_option_set(which[i], value);
}

static void step(void) {
  bad_errors = 0;
  switch (take8(&input) % 21) {
  case 0:
  case 1:
  case 2:
    op_manage();
    break;
  case 3:
    op_manage_junk();
    break;
  case 4:
    op_reserve();
    break;
  case 5:
    op_reserve_huge();
    break;
  case 6:
    op_ask();
    break;
  case 7:
  case 8:
  case 9:
    op_heap();
    break;
  case 10:
  case 11:
    op_alloc();
    break;
  case 12:
    op_fill();
    break;
  case 13:
  case 14:
    op_free();
    break;
  case 15:
    op_resize();
    break;
  case 16:
    op_visit();
    break;
  case 17:
    op_stats();
    break;
  case 18:
    op_option();
    break;
  case 19:
    op_manage_ours();
    break;
  default:
    mi_collect(take8(&input) % 2 == 0);
    break;
  }
  if (bad_errors != 0) FUZZ_FAIL("%d errors were reported", bad_errors);
}

static void run(const uint8_t* data, size_t size) {
  input = (input_t){data, data + size};
  mi_register_error(&on_error, NULL);
  mi_register_output(&on_output, NULL);
  for (int i = 0; i < 2; i++) {
    regions[i] = mmap(NULL, REGION, i == 0 ? PROT_READ | PROT_WRITE : PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FUZZ_CHECK(regions[i] != MAP_FAILED);
  }
  for (int steps = 0; steps < 3000 && !input_ended(&input); steps++) step();
  while (block_count > 0) free_one(block_count / 2);
  for (int h = 0; h < HEAPS; h++)
    if (heaps[h].heap != NULL) mi_heap_destroy(heaps[h].heap);
  mi_collect(true);
  for (size_t i = 0; i < arena_count; i++) check_arena(&arenas[i]);
  FUZZ_CHECK(mi_stats_get_json(sizeof json, json) == json && json_is_valid(json));
  mi_stats_t_decl(stats);
  FUZZ_CHECK(mi_stats_get(&stats) && bad_errors == 0);
  if (!FUZZ_OVERRIDE && stats.malloc_normal.current + stats.malloc_huge.current != 0)
    FUZZ_FAIL("%lld bytes are left", (long long)stats.malloc_normal.current);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz_apart(&run, data, size);
  return 0;
}
