/* secure.c - checks of secure builds; see secure.h for the levels and the side table.
 *
 * Owns:    the pattern behind blocks; what else it knows is in descriptors and side tables.
 * Always:  nothing here allocates; a violation is one line, and the end of the program unless it
 *          has registered an error handler.
 * Threads: any.
 * Uses:    secure.h, page.h, slices.h, log.h, os.h, random.h.
 *          Used by: page, heap, free, alloc, large.
 */
#include "secure.h"
#include "log.h"
#include "page.h"
#include "slices.h"
#include <errno.h>

#if MI_SECURE > 0

static uint64_t pattern[2]; /* two equal words, from 0x80 on in each byte; written at the start */

INTERNAL void secure_init(void) {
  random_words(pattern);
  pattern[0] |= UINT64_C(0x8080808080808080);
  pattern[1] = pattern[0];
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

INTERNAL void secure_page_key(page_t* page) {
  if (SECURE_SEALS) random_words(page->key);
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
  page->epoch = load_relaxed(&random_epoch);
  secure_page_key(page);
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
    random_t random = random_start();
    for (size_t i = n - 1; i > 0; i--) {
      size_t k = random_below(random_next(&random), i);
      uint16_t link = load_relaxed(&side[i]);
      store_relaxed(&side[i], load_relaxed(&side[k]));
      store_relaxed(&side[k], link);
    }
    last = random_below(random_next(&random), n);
    first = load_relaxed(&side[last]) & SIDE_END;
  }
  store_relaxed(&side[last], SIDE_END | bits);
  return (block_t*)(void*)(page->start + (first << page->link_shift));
}

/* Deals the list into piles by random numbers and puts these one on the other, three times: so it
 * is sorted by random numbers of twelve bits. */
#define PILES 16
static block_t* deal(page_t* page, block_t* list, random_t* random) {
  block_t *first[PILES] = {NULL}, *last[PILES], *all = NULL;
  for (block_t* next; list != NULL; list = next) {
    next = block_next(page, list);
    size_t pile = random_below(random_next(random), PILES);
    if (first[pile] == NULL)
      first[pile] = list;
    else
      block_relink(page, last[pile], list);
    last[pile] = list;
  }
  for (size_t pile = 0; pile < PILES; pile++) {
    if (first[pile] == NULL) continue;
    block_relink(page, last[pile], all);
    all = first[pile];
  }
  return all;
}
INTERNAL block_t* secure_shuffle(page_t* page, block_t* list) {
  random_t random = random_start();
  for (int i = 0; i < 3; i++) list = deal(page, list, &random);
  page->epoch = load_relaxed(&random_epoch);
  return list;
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

static bool is_live(page_t* page, const void* p) {
  if (page_class(page) != CLASS_LARGE) return block_is_live(page, p);
  return load_relaxed(&page->given) == (uintptr_t)p &&
         (load_relaxed(&page->owner) & OWNER_LARGE) != 0;
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

/* ---- canaries ---- */

#if SECURE_SEALS
/* The last word of a block is its canary: how many bytes before it were not asked for (the slack),
 * and above that half of a hash of this number and of the place. The slack is filled by a pattern.
 *
 *   asked for            slack, filled     canary
 *   +-------------------+-----------------+-------------+-------------+
 *   |                   | pattern         | slack       | hash        |
 *   +-------------------+-----------------+-------------+-------------+
 *                                          ^ at, a multiple of 8
 *
 * The hash is two multiplications of 64 by 64 bits, each folded to 64, under a key of 128 bits
 * that the page has for this one life; the keys of two pages have nothing to do with each other.
 * Folding mixes the upper half of a product into its lower half, so no bit of the result depends on
 * few bits of the key, and it cannot be undone: half of the product is lost, and then half of the
 * hash. What a program shows of canaries by a bug of its own helps in no other page.
 *
 * Canaries that are left when a block or a page was freed are void: the next block at the place
 * writes its own over it, and the next page there has another key.
 *
 * The pattern has nothing to do with a key: a random word of the process, changed by where the
 * block lies in its slice. Eight bytes unlike each other, so that one byte written over many of
 * them is not what was there; from 0x80 on, so that a text and its end never are. What a freed
 * block keeps of it tells nothing that its next owner does not know. */
static inline uint64_t hash_of(const page_t* page, const char* at, size_t slack) {
  uint64_t x = multiply_fold((uintptr_t)at ^ page->key[0], slack ^ page->key[1]);
  __asm__("" : "+r"(page)); /* reads the key again, which costs fewer registers than to keep it */
  return multiply_fold(x ^ page->key[1], page->key[0]);
}
static inline uint64_t canary_of(const page_t* page, const char* at, size_t slack) {
  return (hash_of(page, at, slack) & ~(uint64_t)UINT32_MAX) | slack;
}
static inline uint32_t place_part(const char* at) {
  return ((uint32_t)(uint16_t)(uintptr_t)at * UINT32_C(0x9e3779b1)) & UINT32_C(0x7f7f7f7f);
}
static inline uint64_t pattern_of(const char* at) {
  uint32_t part = place_part(at);
  return ((uint64_t)part << 32 | part) ^ pattern[0];
}
static inline uint64_t load_word(const char* at) {
  uint64_t word;
  memcpy(&word, at, sizeof(word));
  return word;
}
static inline void store_word(char* at, uint64_t word) { memcpy(at, &word, sizeof(word)); }
/* The last `n` bytes, 1 to 8, of a word in memory. */
static inline uint64_t last_bytes(size_t n) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return ~UINT64_C(0) >> (8 * (8 - n));
#else
  return ~UINT64_C(0) << (8 * (8 - n));
#endif
}

/* Small blocks have less slack than two words, unless they were asked for with an alignment: the
 * two words before the canary are looked at whatever the slack is, which no branch has to guess. A
 * block of two words has only one there. */
typedef struct slack_s {
  loose_pair_t mask, filled; /* which of their bytes are filled, and by what */
} slack_t;
typedef uint32_t halves_t __attribute__((vector_size(16), may_alias));
#define SLACK_SHORT ((size_t)16)
/* Two words of it, or one from the second on, have as many set bytes at their end as they begin
 * further on. */
static const uint64_t window[4] = {0, 0, UINT64_MAX, UINT64_MAX};
static inline void find_short_slack(const char* at, size_t slack, slack_t* s) {
  const uint32_t part = place_part(at);
  const halves_t parts = {part, part, part, part};
  s->mask = *(const loose_pair_t*)(const void*)((const char*)window + slack);
  s->filled = (pair_t)parts ^ *(const loose_pair_t*)(const void*)pattern;
}
static inline loose_pair_t* before(char* at) { return (loose_pair_t*)(void*)(at - 16); }

static inline char* small_seal_place(const page_t* page, const void* p) {
  return (char*)(uintptr_t)p + page->block_size - SEAL_SIZE;
}
/* NULL: such a block has none. */
static char* seal_place(page_t* page, const void* p) {
  size_t class = page_class(page);
  if (class == CLASS_LARGE) return page_start(page) + page->block_size - SEAL_SIZE;
  return class == 0 ? NULL : small_seal_place(page, p);
}

/* What the word at `at` tells; false if it is no canary. */
static inline bool read_canary(const page_t* page, const char* at, size_t* slack) {
  uint64_t canary = load_word(at);
  *slack = (uint32_t)canary;
  return (canary ^ hash_of(page, at, *slack)) >> 32 == 0;
}
/* The same; false also if it is none of a block at `p`. */
static inline bool read_seal(const page_t* page, const char* at, const void* p, size_t* slack) {
  return read_canary(page, at, slack) && *slack <= (size_t)(at - (const char*)p);
}

static inline void fill_part(char* at, uint64_t mask, uint64_t bytes) {
  store_word(at, (load_word(at) & ~mask) | (bytes & mask));
}
static void fill_long(char* at, size_t slack, uint64_t bytes) {
  const loose_pair_t two = {bytes, bytes};
  for (; slack >= sizeof(two); slack -= sizeof(two))
    *(loose_pair_t*)(void*)(at -= sizeof(two)) = two;
  for (; slack >= sizeof(bytes); slack -= sizeof(bytes)) store_word(at -= sizeof(bytes), bytes);
  /* A block has at least a word before its canary. */
  if (slack > 0) fill_part(at - sizeof(bytes), last_bytes(slack), bytes);
}
static inline void write_short_seal(const page_t* page, char* at, size_t slack) {
  slack_t s;
  store_word(at, canary_of(page, at, slack));
  find_short_slack(at, slack, &s);
  *before(at) = (*before(at) & ~s.mask) | (s.filled & s.mask);
}
static void write_seal(const page_t* page, char* at, void* p, size_t size) {
  mi_assert_internal((char*)p + size <= at);
  size_t slack = (size_t)(at - (char*)p) - size;
  store_word(at, canary_of(page, at, slack));
  fill_long(at, slack, pattern_of(at));
}

INTERNAL void secure_seal(page_t* page, void* p, size_t size) {
  char* at = seal_place(page, p);
  if (at != NULL) write_seal(page, at, p, size);
}

INTERNAL void secure_unseal(page_t* page, void* p) {
  char* at = seal_place(page, p);
  if (at != NULL) store_word(at, 0);
}

INTERNAL void secure_reseal(page_t* page, void* p, size_t size) {
  char* at = seal_place(page, p);
  size_t slack;
  if (at == NULL) return;
  if (read_seal(page, at, p, &slack)) {
    size_t before = (size_t)(at - (char*)p) - slack;
    if (size > before) memset((char*)p + before, 0, size - before);
  }
  write_seal(page, at, p, size);
}

/* The rare cases of secure_new: calls in its midst would cost it registers. */
static NOINLINE void* new_slowly(page_t* page, block_t* block, block_t** list, size_t size) {
  block_hand_out(page, block, list);
  write_seal(page, small_seal_place(page, block), block, size);
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
  write_short_seal(page, (char*)block + whole - SEAL_SIZE, slack);
  return block;
}

/* Of a word the last bytes, 0 to 8. */
static inline uint64_t tiny_mask(size_t slack) {
  return load_word((const char*)window + sizeof(window[0]) + slack);
}

INTERNAL NOINLINE void* secure_new_tiny(page_t* page, block_t* block, block_t** list, size_t size) {
  char *p = (void*)block, *at = p + SEAL_SIZE;
  size_t slack = SEAL_SIZE - size;
  side_t* side = block_side(page, block);
  uint16_t entry = load_relaxed(side);
  bool fresh = !SECURE_ZERO || (entry & SIDE_FRESH) != 0;
  if (unlikely(entry >= SIDE_ABSENT || (!fresh && (load_word(p) | load_word(at)) != 0)))
    return new_slowly(page, block, list, size);
  *list = block_of_link(page, block, entry); /* as in block_hand_out */
  compiler_fence();
  store_relaxed(side, SIDE_LIVE);
  store_word(at, canary_of(page, at, slack));
  fill_part(p, tiny_mask(slack), pattern_of(at));
  return block;
}

static bool long_is_filled(const char* at, size_t slack, uint64_t bytes) {
  const loose_pair_t two = {bytes, bytes};
  loose_pair_t changed = {0, 0};
  for (; slack >= sizeof(two); slack -= sizeof(two))
    changed |= *(const loose_pair_t*)(const void*)(at -= sizeof(two)) ^ two;
  for (; slack >= sizeof(bytes); slack -= sizeof(bytes))
    changed[0] |= load_word(at -= sizeof(bytes)) ^ bytes;
  if (slack > 0) changed[0] |= (load_word(at - sizeof(bytes)) ^ bytes) & last_bytes(slack);
  return (changed[0] | changed[1]) == 0;
}
static bool is_sealed(const page_t* page, const char* at, const void* p) {
  size_t slack;
  return read_seal(page, at, p, &slack) && long_is_filled(at, slack, pattern_of(at));
}

/* Of two threads that free a block at once one may find it without a canary already. */
static COLD bool broken(page_t* page, const void* p) {
  if (is_live(page, p))
    report(EFAULT, "overflow", "the bytes behind it have changed", page, p);
  else
    secure_freed_twice(page, p);
  return false;
}

INTERNAL bool secure_is_sound(page_t* page, const void* p) {
  char* at = seal_place(page, p);
  return is_live(page, p) && (at == NULL || is_sealed(page, at, p));
}

INTERNAL bool secure_check_seal(page_t* page, const void* p) {
  char* at = seal_place(page, p);
  return at == NULL || likely(is_sealed(page, at, p)) || broken(page, p);
}

INTERNAL take_t secure_take_own(page_t* page, void* p, size_t size) {
  side_t* side = block_side(page, p);
  if (unlikely(!is_block_start(page, p) || load_relaxed(side) != SIDE_LIVE)) return TAKE_OTHER;
  char* at = (char*)p + size - SEAL_SIZE;
  size_t slack;
  slack_t s;
  if (unlikely(!read_canary(page, at, &slack))) return TAKE_OTHER;
  if (unlikely(slack > SLACK_SHORT)) return TAKE_LONG;
  find_short_slack(at, slack, &s);
  const loose_pair_t changed = (*before(at) ^ s.filled) & s.mask;
  if (unlikely((changed[0] | changed[1]) != 0 || !take(side, true))) return TAKE_OTHER;
  if (SECURE_ZERO) clear_small(p, size);
  return TAKE_DONE;
}

INTERNAL bool secure_take_tiny(page_t* page, void* p) {
  side_t* side = block_side(page, p);
  if (unlikely(!is_block_start(page, p) || load_relaxed(side) != SIDE_LIVE)) return false;
  char *block = p, *at = block + SEAL_SIZE;
  size_t slack;
  if (unlikely(!read_seal(page, at, p, &slack))) return false;
  uint64_t changed = (load_word(block) ^ pattern_of(at)) & tiny_mask(slack);
  if (unlikely(changed != 0 || !take(side, true))) return false;
  if (SECURE_ZERO) store_word(block, 0), store_word(at, 0);
  return true;
}

INTERNAL bool secure_take_long(page_t* page, void* p, size_t size) {
  char* at = (char*)p + size - SEAL_SIZE;
  size_t slack = (uint32_t)load_word(at); /* secure_take_own has looked at the canary */
  if (unlikely(slack > (size_t)(at - (char*)p) || !long_is_filled(at, slack, pattern_of(at)) ||
               !take(block_side(page, p), true)))
    return false;
  if (SECURE_ZERO) memset(p, 0, size);
  return true;
}

INTERNAL size_t secure_size(page_t* page, const void* p) {
  const char* at = seal_place(page, p);
  if (at == NULL) return 0;
  size_t slack;
  if (read_seal(page, at, p, &slack)) return (size_t)(at - (const char*)p) - slack;
  (void)broken(page, p);
  return 0;
}
#else
INTERNAL bool secure_is_sound(page_t* page, const void* p) { return is_live(page, p); }

INTERNAL bool secure_check_seal(page_t* page, const void* p) {
  (void)page, (void)p;
  return true;
}
#endif
#endif
