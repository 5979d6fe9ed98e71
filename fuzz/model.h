/* model.h - the blocks that are live, as the model of fuzz_api.c has them, and requests for more.
 *
 * A block is known by its place, its sizes, what was asked for, and a pattern that is written in
 * it. Sorted by address, blocks show whether they overlap.
 */
#pragma once

#include "fuzz.h"
#include "mimalloc.h"

enum { BLOCKS = 8192 };

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define LARGEST ((size_t)65536 * 4294967294u) /* that can be asked for, docs/guarantees.md */
#define EASY (64 * MIB)                       /* up to this a request has to succeed */
#define HUGE_MAX (64 * GIB)                   /* giving terabytes back takes its time */
#define EASY_ALIGN (16 * MIB)
#define LIVE_MAX (128 * MIB)
#define FULL_PATTERN 4096 /* blocks up to this are filled wholly, larger ones here and there */

/* Who a block belongs to: a slot of `heaps`, or one of these. */
enum { OF_BACKING = 100, OF_NOBODY = 200, OF_TAG = 300 };

typedef struct block_s {
  char* p;
  size_t asked;  /* what a sized free says */
  size_t usable; /* as told */
  size_t align, offset;
  int owner;
  bool small;  /* from a function of that name */
  bool put_by; /* waits for the deferred-free callback */
  uint32_t seed, visited;
  uint16_t place; /* in `live` */
} block_t;

static block_t blocks[BLOCKS];
static uint16_t free_ids[BLOCKS], live[BLOCKS], sorted[BLOCKS], put_by[BLOCKS];
static size_t free_count, live_count, sorted_count, put_by_count;
static size_t live_bytes;
static uint32_t seeds;

static input_t input;

/* ---- contents ------------------------------------------------------------------ */

/* The next place that is written and looked at: all of a smaller block, and of a larger one its
 * ends and some places between. */
static size_t next_probe(size_t i, size_t usable) {
  if (usable <= FULL_PATTERN || i < 64 || i >= usable - 64) return i + 1;
  size_t next = i + (usable - 128) / 32 + 1;
  return next < usable - 64 ? next : usable - 64;
}

static unsigned char pattern(uint32_t seed, size_t i) {
  return (unsigned char)((seed + i * 7 + (i >> 8) * 13) % 255 + 1); /* never 0 */
}

static void fill(block_t* b) {
  b->seed = ++seeds;
  for (size_t i = 0; i < b->usable; i = next_probe(i, b->usable))
    b->p[i] = (char)pattern(b->seed, i);
}

/* What was filled into `usable` bytes, as far as `limit`. */
static void check_contents(const char* p, uint32_t seed, size_t usable, size_t limit) {
  for (size_t i = 0; i < usable && i < limit; i = next_probe(i, usable)) {
    if ((unsigned char)p[i] != pattern(seed, i))
      FUZZ_FAIL("block %p of %zu bytes: byte %zu is 0x%x and was 0x%x", (const void*)p, usable, i,
                (unsigned char)p[i], pattern(seed, i));
  }
}

static void check_zero(const char* p, size_t from, size_t to) {
  size_t step = to - from <= 64 * KIB ? 1 : (to - from) / 64 + 1;
  for (size_t i = from; i < to; i += step)
    if (p[i] != 0)
      FUZZ_FAIL("block %p: byte %zu of %zu to %zu is not 0", (const void*)p, i, from, to);
}

/* ---- blocks --------------------------------------------------------------------- */

static size_t position(const char* p) { /* of the first block at or after `p` */
  size_t low = 0, high = sorted_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (blocks[sorted[middle]].p < p)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The one block that lies in these bytes. */
static block_t* block_within(const char* start, size_t size) {
  size_t i = position(start);
  if (i == sorted_count || blocks[sorted[i]].p >= start + (size > 0 ? size : 1)) return NULL;
  return &blocks[sorted[i]];
}

static size_t extent(const block_t* b) { return b->usable > 0 ? b->usable : 1; }

static void sorted_add(block_t* b) {
  size_t i = position(b->p);
  if (i > 0) {
    const block_t* before = &blocks[sorted[i - 1]];
    if (before->p + extent(before) > b->p)
      FUZZ_FAIL("block %p overlaps %p of %zu bytes", (void*)b->p, (void*)before->p, before->usable);
  }
  if (i < sorted_count && b->p + extent(b) > blocks[sorted[i]].p)
    FUZZ_FAIL("block %p of %zu bytes overlaps %p", (void*)b->p, b->usable,
              (void*)blocks[sorted[i]].p);
  memmove(&sorted[i + 1], &sorted[i], (sorted_count - i) * sizeof *sorted);
  sorted[i] = (uint16_t)(b - blocks);
  sorted_count++;
}

static void sorted_remove(const block_t* b) {
  size_t i = position(b->p);
  FUZZ_CHECK(i < sorted_count && sorted[i] == b - blocks);
  memmove(&sorted[i], &sorted[i + 1], (sorted_count - i - 1) * sizeof *sorted);
  sorted_count--;
}

static void live_add(block_t* b) {
  b->place = (uint16_t)live_count;
  live[live_count++] = (uint16_t)(b - blocks);
}

static void live_remove(const block_t* b) {
  live[b->place] = live[--live_count];
  blocks[live[b->place]].place = b->place;
}

/* Out of the model: it was freed. */
static void forget(block_t* b) {
  sorted_remove(b);
  if (!b->put_by) live_remove(b);
  live_bytes -= b->usable;
  b->p = NULL;
  free_ids[free_count++] = (uint16_t)(b - blocks);
}

static block_t* pick(void) {
  return live_count == 0 ? NULL : &blocks[live[take16(&input) % live_count]];
}

static void check_block(const block_t* b) {
  check_contents(b->p, b->seed, b->usable, b->usable);
  if (mi_usable_size(b->p) != b->usable)
    FUZZ_FAIL("block %p has %zu usable bytes and had %zu", (void*)b->p, mi_usable_size(b->p),
              b->usable);
}

/* ---- requests -------------------------------------------------------------------- */

typedef struct request_s {
  size_t size, count, each; /* size: count * each */
  size_t align, offset;
  bool overflow;
} request_t;

static size_t take_size(void) {
  uint8_t k = take8(&input);
  if (k < 128) return k;
  if (k < 192) return (size_t)(k & 63) * 16 + 16 + take8(&input) % 17 - 8;
  if (k < 224) {
    size_t size = (KIB << ((k & 31) >> 2)) / 4 * (4 + (k & 3));
    return size + take8(&input) % 17 - 8;
  }
  if (k < 240) return 64 * KIB * (1 + take8(&input) % 64) + (size_t)(k - 232);
  if (k < 246) return MIB * (1 + take8(&input) % 64) - 1;
  switch (k) {
  case 246:
    return 512 * MIB + take8(&input) - 128;
  case 247:
    return 600 * MIB;
  case 248:
    return GIB << take8(&input) % 6;
  case 249:
    return LARGEST + take8(&input) - 128;
  case 250:
    return PTRDIFF_MAX - 128 + (size_t)take8(&input);
  case 251:
    return SIZE_MAX - take8(&input);
  default:
    return take16(&input);
  }
}

static size_t take_align(void) {
  uint8_t a = take8(&input);
  if (a < 200) return (size_t)1 << a % 17;
  if (a < 236) return (size_t)1 << (17 + a % 8);
  if (a < 240) return (size_t)1 << (25 + a % 8);
  if (a < 248) return a % 3 == 0 ? 0 : (size_t)a * 3; /* none is a power of two */
  return 16;
}

static bool is_power_of_two(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

/* Large sizes are rare: others use the memory of the machine too. */
static size_t tamed(size_t size, size_t max) {
  if (size > LARGEST) return size;
  if (size > max || (size <= EASY && live_bytes + size > LIVE_MAX)) return size % (64 * KIB);
  return size;
}

static request_t take_request(void) {
  request_t r = {.align = 16};
  r.count = 1;
  r.size = r.each = tamed(take_size(), SIZE_MAX);
  return r;
}

static void take_product(request_t* r) {
  uint8_t k = take8(&input);
  r->count = k < 200 ? k % 9 : k < 250 ? k : (size_t)1 << (k - 250) * 12;
  r->each = r->size;
  r->overflow = __builtin_mul_overflow(r->count, r->each, &r->size);
  bool too_much = r->size <= EASY && live_bytes + r->size > LIVE_MAX;
  bool too_long = r->size > HUGE_MAX && r->size <= LARGEST;
  if (!r->overflow && (too_much || too_long)) {
    r->count = 1;
    r->each = r->size = r->size % 1000;
  }
}

/* A number that an int64 of offsets may have; small ones mostly. */
static size_t take_offset(void) {
  uint8_t k = take8(&input);
  return k < 240 ? k : k < 252 ? (size_t)k << 8 : SIZE_MAX - k;
}

static bool offset_matters(const request_t* r) {
  return is_power_of_two(r->align) && (r->offset & (r->align - 1)) != 0;
}

static bool must_fail(const request_t* r) {
  return r->overflow || r->size > LARGEST || !is_power_of_two(r->align) ||
         (offset_matters(r) && r->align > EASY_ALIGN);
}
static bool must_succeed(const request_t* r) {
  return !must_fail(r) && r->size <= EASY && r->align <= EASY_ALIGN;
}

static void check_result(const request_t* r, const void* p) {
  if (p == NULL && must_succeed(r))
    FUZZ_FAIL("no block of %zu bytes, alignment %zu, offset %zu", r->size, r->align, r->offset);
  if (p != NULL && must_fail(r))
    FUZZ_FAIL("a block of %zu bytes, %zu times %zu, alignment %zu, offset %zu", r->size, r->count,
              r->each, r->align, r->offset);
  if (p != NULL && (((uintptr_t)p + r->offset) & (r->align - 1)) != 0)
    FUZZ_FAIL("block %p is not aligned to %zu, offset %zu", p, r->align, r->offset);
}
