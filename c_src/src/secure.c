/* secure.c - checks of secure builds; see secure.h for the levels and the side table.
 *
 * Owns:    the keys of the seals and of the random order.
 * Always:  nothing here allocates; a violation is one line, and the end of the program unless it
 *          has registered an error handler.
 * Threads: any.
 * Uses:    secure.h, page.h, slices.h, log.h, os.h.          Used by: page, heap, free, alloc,
 * large.
 */
#include "secure.h"
#include "log.h"
#include "page.h"
#include "slices.h"
#include <errno.h>

#if MI_SECURE > 0

static struct {
  uint64_t key[2];
  _Atomic(uint64_t) count; /* of random numbers; relaxed: any order is as random */
} secure;

INTERNAL void secure_init(void) {
  secure.key[0] = os_random();
  secure.key[1] = os_random() | 1;
}

static inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * secure.key[1];
  x = (x ^ (x >> 29)) * UINT64_C(0x9e3779b97f4a7c15);
  return x ^ (x >> 32);
}

INTERNAL uint64_t secure_random(void) {
  return mix(secure.key[0] + add_relaxed(&secure.count, 1) * UINT64_C(0xd1b54a32d192ed03));
}

/* ---- reports ---- */

static COLD void report(int code, const char* kind, const char* what, const page_t* page,
                        const void* block) {
  log_error(code, "%s: block %p, class %zu bytes, thread %zu (%s)\n", kind, block, page->block_size,
            (size_t)os_thread_id(), what);
}

static COLD page_t* invalid_free(const void* p, const char* why, const char* what) {
  log_error(EINVAL, "invalid free: %p %s, thread %zu (%s)\n", p, why, (size_t)os_thread_id(), what);
  return NULL;
}

INTERNAL COLD page_t* secure_foreign(const void* p, const char* what) {
  return invalid_free(p, "is no block of this allocator", what);
}

INTERNAL COLD void secure_freed_twice(const page_t* page, const void* p) {
  report(EAGAIN, "double free", "free", page, p);
}

INTERNAL COLD block_t* secure_bad_list(const page_t* page, const block_t* block) {
  report(EAGAIN, "double free", "found in a free list", page, block);
  return NULL;
}

INTERNAL COLD void secure_size_mismatch(page_t* page, const void* p, size_t size) {
  log_error(EFAULT, "size mismatch: block %p, class %zu bytes, thread %zu, freed as %zu bytes\n", p,
            page->block_size, (size_t)os_thread_id(), size);
}

/* ---- pages ---- */

/* The end of a page; all of it for blocks of size 0, which nobody has business in. */
static char* guard_of(page_t* page, size_t* size) {
  size_t span = page_slices(page) * SLICE_SIZE;
  *size = page_class(page) == 0 ? span : guard_size();
  return page_start(page) + span - *size;
}

/* Left there by the page before; pages of blocks of size 0 need more than that. */
static bool has_its_guard(page_t* page) {
  return page_has_flag(page, PAGE_GUARDED) && page_class(page) != 0;
}

INTERNAL void secure_page_begin(page_t* page) {
  arena_t* a = arena_at(page->arena);
  size_t i = page->slice - a->first_slice, size;
  char* tables = (char*)a->side;
  char* dense = tables + i * SIDE_DENSE;
  char* wide = tables + a->slices * SIDE_DENSE + i * SIDE_WIDE;
  page->side = (side_t*)(void*)(page->block_size >= SIDE_DENSE_FROM ? dense : wide);
  page->start = page_start(page);
  page->link_shift = page_slices(page) == 1 ? 3 : 10; /* sizes above SINGLE_SLICE_MAX are such */
  page->reciprocal = (UINT64_C(1) << RECIPROCAL_SHIFT) / page->block_size + 1;
  /* Also for what is left at the end. */
  size_t entries = (page_slices(page) * SLICE_SIZE - 1) / page->block_size + 1;
  for (size_t k = 0; k < entries; k++) store_relaxed(&page->side[k], SIDE_NONE);
  char* guard = guard_of(page, &size);
  /* A guard that cannot be had costs protection, not function. */
  if (SECURE_GUARDS && size > 0 && arena_is_plain(a) && !has_its_guard(page) &&
      guard_set(guard, size))
    page_set_flag(page, PAGE_GUARDED, true);
}

INTERNAL void secure_page_end(page_t* page) {
  size_t size;
  char* guard = guard_of(page, &size);
  if (!page_has_flag(page, PAGE_GUARDED)) return;
  uint32_t last = page->slice + page_slices(page) - 1;
  /* The next page here is one of blocks more often than not. */
  if (os_guards_are_light() && page_class(page) != 0)
    guard_note_end(page->arena, last);
  else if (!guard_remove(guard, size))
    guard_note(page->arena, last, 1);
}

INTERNAL void secure_clear_live(page_t* page) {
  if (!SECURE_ZERO || page_class(page) == 0) return;
  for (size_t k = 0; k < page->capacity; k++)
    if (load_relaxed(&page->side[k]) == SIDE_LIVE)
      memset(page->start + k * page->block_size, 0, page->block_size);
}

INTERNAL block_t* secure_carve(page_t* page, size_t from, size_t n) {
  side_t* side = page->side + from;
  size_t unit = page->block_size >> page->link_shift, last = n - 1;
  uint16_t bits = 0;
  if (SECURE_ZERO && page_has_flag(page, PAGE_ZERO)) bits = SIDE_FRESH;
  if (SECURE_ZERO && page_has_flag(page, PAGE_ABSENT)) bits = SIDE_ABSENT;
  for (size_t i = 0; i < n; i++)
    store_relaxed(&side[i], (uint16_t)((from + (SECURE_ORDER ? i : i + 1)) * unit) | bits);
  size_t first = from * unit;
  if (SECURE_ORDER) {
    /* Swapping each with a random one before it makes one random circle of all; cut anywhere. */
    uint64_t random = secure_random();
    for (size_t i = n - 1; i > 0; i--) {
      random = random_step(random);
      size_t k = random_below(random, i);
      uint16_t link = load_relaxed(&side[i]);
      store_relaxed(&side[i], load_relaxed(&side[k]));
      store_relaxed(&side[k], link);
    }
    last = random_below(secure_random(), n);
    first = load_relaxed(&side[last]) & SIDE_END;
  }
  store_relaxed(&side[last], SIDE_END | bits);
  return (block_t*)(void*)(page->start + (first << page->link_shift));
}

/* ---- blocks as words ---- */

/* Two words: one load where the processor has one. No function takes or returns one: without
 * vectors in the processor that is no part of the calling convention. */
typedef uint64_t pair_t __attribute__((vector_size(16), may_alias));
typedef uint64_t loose_pair_t __attribute__((vector_size(16), aligned(1), may_alias));

/* The words of a block, or-ed together; what is left at the end overlaps what was seen. */
static inline uint64_t few_words(const void* start, size_t size) {
  const loose_pair_t *first = start, *last = (const void*)((const char*)start + size);
  const loose_pair_t two = first[0] | last[-1];
  if (size <= 2 * sizeof(two)) return two[0] | two[1];
  const loose_pair_t four = first[1] | last[-2] | two;
  if (size <= 4 * sizeof(four)) return four[0] | four[1];
  const loose_pair_t eight = first[2] | first[3] | last[-4] | last[-3] | four;
  return eight[0] | eight[1];
}
/* Blocks above ALIGN8_MAX lie at multiples of 16, and are such. */
static inline uint64_t many_words(const void* start, size_t size) {
  const pair_t *first = start, *last = (const void*)((const char*)start + size);
  pair_t all = last[-1] | last[-2] | last[-3] | last[-4];
  pair_t more = last[-5] | last[-6] | last[-7] | last[-8];
  for (; first < last - 8; first += 8) {
    all |= first[0] | first[1] | first[2] | first[3];
    more |= first[4] | first[5] | first[6] | first[7];
  }
  all |= more;
  return all[0] | all[1];
}
static inline bool is_zero(const void* block, size_t size) {
  return (size <= ALIGN8_MAX ? few_words(block, size) : many_words(block, size)) == 0;
}

/* A block of up to SMALL_MAX bytes, in fewer steps than by a call. */
static inline void clear_small(void* start, size_t size) {
  const loose_pair_t zero = {0, 0};
  loose_pair_t *first = start, *last = (void*)((char*)start + size);
  first[0] = last[-1] = zero;
  if (size <= 2 * sizeof(zero)) return;
  first[1] = last[-2] = zero;
  if (size <= 4 * sizeof(zero)) return;
  first[2] = first[3] = last[-3] = last[-4] = zero;
  if (size <= 8 * sizeof(zero)) return;
  last[-5] = last[-6] = last[-7] = last[-8] = zero;
  for (; first < last - 8; first += 8) {
    first[0] = first[1] = first[2] = first[3] = zero;
    first[4] = first[5] = first[6] = first[7] = zero;
  }
}

/* ---- frees ---- */

static page_t* live_large(page_t* page, const void* p, const char* what) {
  if (load_relaxed(&page->given) == (uintptr_t)p) return page;
  return invalid_free(p, "is inside a large block", what);
}

/* `*side` is the entry of the block that starts at `p`, or the page is a large block. */
static page_t* find_live(const void* p, const char* what, side_t** side) {
  page_t* page = map_page_checked(p);
  *side = NULL;
  if (unlikely(page == NULL)) return secure_foreign(p, what);
  if (page_class(page) == CLASS_LARGE) return live_large(page, p, what);
  if (unlikely(!is_block_start(page, p))) return invalid_free(p, "is inside a block", what);
  *side = block_side(page, p);
  uint16_t state = load_relaxed(*side);
  if (likely(state == SIDE_LIVE)) return page;
  if (state == SIDE_NONE) return invalid_free(p, "was never handed out", what);
  report(EAGAIN, "double free", what, page, p);
  return NULL;
}

INTERNAL bool secure_is_live(page_t* page, const void* p) {
  if (page_class(page) == CLASS_LARGE) return load_relaxed(&page->given) == (uintptr_t)p;
  return block_is_live(page, p);
}

INTERNAL page_t* secure_live(const void* p, const char* what) {
  side_t* side;
  page_t* page = find_live(p, what, &side);
  return page != NULL && secure_check_seal(page, p) ? page : NULL;
}

/* The one who turns the entry of a live block into SIDE_HELD owns the block. `own`: the block is in
 * a page of the calling thread. */
static inline bool take(side_t* side, bool own) {
  uint16_t live = SIDE_LIVE;
  if (os_is_single_threaded() || (!SECURE_EXACT && own)) {
    store_relaxed(side, SIDE_HELD);
    return true;
  }
  /* Relaxed: only one thread goes on, and what it publishes it publishes by its push. */
  return cas_relaxed(side, &live, SIDE_HELD);
}

INTERNAL page_t* secure_take(void* p, uintptr_t own) {
  side_t* side;
  page_t* page = find_live(p, "free", &side);
  if (unlikely(page == NULL || !secure_check_seal(page, p))) return NULL;
  if (side == NULL) return page; /* large_free decides who frees it */
  if (unlikely(!take(side, load_relaxed(&page->owner) == own))) {
    secure_freed_twice(page, p);
    return NULL;
  }
  if (SECURE_ZERO && page_class(page) != 0) memset(p, 0, page->block_size);
  return page;
}

static COLD void written_to(page_t* page, block_t* block) {
  report(EFAULT, "write after free", "found as the block was to be used again", page, block);
  memset(block, 0, page->block_size);
}

/* Each OS page of the block is resident now, unchanged. A look through it, which only reads, would
 * cost a fault for memory of zeros, and the first write to it another one. */
static void make_resident(block_t* block, size_t size) {
  char *at = (char*)block, *end = at + size;
  for (; at < end; at = (char*)round_up((uintptr_t)at + 1, os_info.page_size)) {
    uintptr_t zero = 0;
    (void)cas_relaxed((_Atomic(uintptr_t)*)(void*)at, &zero, 0); /* a write that changes nothing */
  }
}

/* A block's size is a multiple of a word, from two words on; but for size 0. */
INTERNAL void secure_look_through(page_t* page, block_t* block, uint16_t entry) {
  if (page_class(page) == 0) return;
  if ((entry & SIDE_ABSENT) != 0) make_resident(block, page->block_size);
  if (unlikely(!is_zero(block, page->block_size))) written_to(page, block);
}

/* ---- seals ---- */

#if SECURE_SEALS
/* The word at the end of a block: how many bytes before it were not asked for, and a hash of that
 * and of the place. The bytes between are filled, by the hash: eight bytes unlike each other, so
 * that one byte written over many of them is not what was there; and from 0x80 on, so that a text
 * and its end never are. */
static inline uint64_t hash_of(const char* at, size_t slack) {
  uint64_t x = ((uintptr_t)at ^ secure.key[0] ^ (uint64_t)slack << 32) * secure.key[1];
  return (x ^ (x >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
}
static inline uint64_t seal_of(uint64_t hash, size_t slack) {
  return (hash & ~(uint64_t)UINT32_MAX) | slack;
}
static inline uint64_t fill_of(uint64_t hash) { return hash | UINT64_C(0x8080808080808080); }
static inline uint64_t load_word(const char* at) {
  uint64_t word;
  memcpy(&word, at, sizeof(word));
  return word;
}
static inline void store_word(char* at, uint64_t word) { memcpy(at, &word, sizeof(word)); }
/* The last `n` bytes, 1 to 7, of a word in memory. */
static inline uint64_t last_bytes(size_t n) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return (UINT64_C(1) << (8 * n)) - 1;
#else
  return ~UINT64_C(0) << (8 * (8 - n));
#endif
}

/* Small blocks have less slack than two words, unless they were asked for with an alignment: the
 * two words before the seal are looked at whatever the slack is, which no branch has to guess. A
 * block of two words has one before the seal; there the seal is the second. */
typedef struct slack_s {
  loose_pair_t* at;
  loose_pair_t mask, filled; /* which of their bytes are filled, and by what */
} slack_t;
#define SLACK_SHORT ((size_t)16)
static inline void find_short_slack(char* at, const void* p, size_t slack, uint64_t hash,
                                    slack_t* s) {
  /* A window of two words has as many set bytes at its end as it begins further on. */
  static const uint64_t window[4] = {0, 0, UINT64_MAX, UINT64_MAX};
  size_t alone = at - (const char*)p == 8 ? 8 : 0;
  uint64_t fill = fill_of(hash);
  s->at = (loose_pair_t*)(void*)(at - 16 + alone);
  s->mask = *(const loose_pair_t*)(const void*)((const char*)window + slack + alone);
  s->filled = (loose_pair_t){fill, alone != 0 ? seal_of(hash, slack) : fill};
}

static inline char* small_seal_place(const page_t* page, const void* p) {
  return (char*)(uintptr_t)p + page->block_size - SEAL_SIZE;
}
/* NULL: such a block has none. */
static char* seal_place(page_t* page, const void* p) {
  size_t class = page_class(page);
  if (class == CLASS_LARGE) return page_start(page) + page->block_size - SEAL_SIZE;
  return class == 0 ? NULL : small_seal_place(page, p);
}

/* What the word at `at` tells; false if it is no seal of a block at `p`. */
static inline bool read_seal(const char* at, const void* p, uint64_t* hash, size_t* slack) {
  uint64_t seal = load_word(at);
  *slack = (uint32_t)seal;
  *hash = hash_of(at, *slack);
  return *slack <= (size_t)(at - (const char*)p) && seal == seal_of(*hash, *slack);
}

static inline void fill_part(char* at, uint64_t mask, uint64_t fill) {
  store_word(at, (load_word(at) & ~mask) | (fill & mask));
}
static void fill_long(char* at, size_t slack, uint64_t fill) {
  const loose_pair_t two = {fill, fill};
  for (; slack >= sizeof(two); slack -= sizeof(two))
    *(loose_pair_t*)(void*)(at -= sizeof(two)) = two;
  for (; slack >= sizeof(fill); slack -= sizeof(fill)) store_word(at -= sizeof(fill), fill);
  /* A block has at least a word before its seal. */
  if (slack > 0) fill_part(at - sizeof(fill), last_bytes(slack), fill);
}
static inline uint64_t write_seal_word(char* at, size_t slack) {
  uint64_t hash = hash_of(at, slack);
  store_word(at, seal_of(hash, slack));
  return hash;
}
static inline void write_short_seal(char* at, void* p, size_t slack) {
  uint64_t hash = write_seal_word(at, slack);
  slack_t s;
  find_short_slack(at, p, slack, hash, &s);
  *s.at = (*s.at & ~s.mask) | (s.filled & s.mask);
}
static void write_seal(char* at, void* p, size_t size) {
  mi_assert_internal((char*)p + size <= at);
  size_t slack = (size_t)(at - (char*)p) - size;
  if (slack <= SLACK_SHORT)
    write_short_seal(at, p, slack);
  else
    fill_long(at, slack, fill_of(write_seal_word(at, slack)));
}

INTERNAL void secure_seal(page_t* page, void* p, size_t size) {
  char* at = seal_place(page, p);
  if (at != NULL) write_seal(at, p, size);
}

/* The rare cases of secure_new: calls in its midst would cost it registers. */
static NOINLINE void* new_slowly(page_t* page, block_t* block, block_t** list, size_t size) {
  block_hand_out(page, block, list);
  write_seal(small_seal_place(page, block), block, size);
  return block;
}

INTERNAL void* secure_new(page_t* page, block_t* block, block_t** list, size_t size) {
  side_t* side = block_side(page, block);
  uint16_t entry = load_relaxed(side);
  size_t whole = page->block_size, slack = whole - SEAL_SIZE - size;
  if (unlikely(entry >= SIDE_ABSENT || slack > SLACK_SHORT))
    return new_slowly(page, block, list, size);
  if (SECURE_ZERO && (entry & SIDE_FRESH) == 0 && unlikely(!is_zero(block, whole)))
    return new_slowly(page, block, list, size); /* which reports it */
  *list = block_of_link(page, block, entry);    /* as in block_hand_out */
  compiler_fence();
  store_relaxed(side, SIDE_LIVE);
  write_short_seal((char*)block + whole - SEAL_SIZE, block, slack);
  return block;
}

static COLD bool broken(page_t* page, const void* p) {
  report(EFAULT, "overflow", "the bytes behind it have changed", page, p);
  return false;
}

static bool long_is_filled(const char* at, size_t slack, uint64_t fill) {
  const loose_pair_t two = {fill, fill};
  loose_pair_t changed = {0, 0};
  for (; slack >= sizeof(two); slack -= sizeof(two))
    changed |= *(const loose_pair_t*)(const void*)(at -= sizeof(two)) ^ two;
  for (; slack >= sizeof(fill); slack -= sizeof(fill))
    changed[0] |= load_word(at -= sizeof(fill)) ^ fill;
  if (slack > 0) changed[0] |= (load_word(at - sizeof(fill)) ^ fill) & last_bytes(slack);
  return (changed[0] | changed[1]) == 0;
}
static inline bool short_is_filled(char* at, const void* p, size_t slack, uint64_t hash) {
  slack_t s;
  find_short_slack(at, p, slack, hash, &s);
  loose_pair_t changed = (*s.at ^ s.filled) & s.mask;
  return likely((changed[0] | changed[1]) == 0);
}
static bool is_sealed(char* at, const void* p) {
  uint64_t hash;
  size_t slack;
  if (unlikely(!read_seal(at, p, &hash, &slack))) return false;
  return slack > SLACK_SHORT ? long_is_filled(at, slack, fill_of(hash))
                             : short_is_filled(at, p, slack, hash);
}
/* False also for a block that was asked for with an alignment. */
static inline bool has_short_seal(char* at, const void* p) {
  uint64_t hash;
  size_t slack;
  return read_seal(at, p, &hash, &slack) && slack <= SLACK_SHORT &&
         short_is_filled(at, p, slack, hash);
}

INTERNAL bool secure_check_seal(page_t* page, const void* p) {
  char* at = seal_place(page, p);
  return at == NULL || likely(is_sealed(at, p)) || broken(page, p);
}

INTERNAL bool secure_take_own(page_t* page, void* p) {
  side_t* side = block_side(page, p);
  if (unlikely(!is_block_start(page, p) || load_relaxed(side) != SIDE_LIVE ||
               !has_short_seal(small_seal_place(page, p), p) || !take(side, true)))
    return false;
  if (SECURE_ZERO) clear_small(p, page->block_size);
  return true;
}

INTERNAL size_t secure_size(page_t* page, const void* p) {
  const char* at = seal_place(page, p);
  if (at == NULL) return 0;
  uint64_t hash;
  size_t slack;
  if (read_seal(at, p, &hash, &slack)) return (size_t)(at - (const char*)p) - slack;
  (void)broken(page, p);
  return 0;
}
#else
INTERNAL bool secure_check_seal(page_t* page, const void* p) {
  (void)page, (void)p;
  return true;
}
#endif
#endif
