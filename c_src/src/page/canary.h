/* canary.h - detects overflows: a canary and padding after the bytes that the program asked for
 * (secure levels 3 and 4).
 *
 * Owns:    nothing; canary.c has the pad pattern.
 * Always:  the last word of an allocated block is its canary. The bytes between the requested size
 *          and the canary are the padding, and hold the pad pattern.
 * Threads: any, for a block that the caller owns.
 *
 * The last three words of a block with 11 bytes of padding (little-endian):
 *
 *   at - 16           at - 8            at                at + 8
 *   +-----------------+-----------------+--------+--------+
 *   | r r r r r p p p | p p p p p p p p | length |  hash  |
 *   +-----------------+-----------------+--------+--------+
 *
 *   r        bytes that the program asked for
 *   p        padding
 *   length   lower 32 bits of the canary: bytes of padding
 *   hash     upper 32 bits of the canary: half of a hash of `at` and the length
 *
 * `at` is a multiple of 8.
 *
 * The hash is two multiplications of 64 by 64 bits, each folded to 64 bits, under a key of 128
 * bits. A page gets a new random key for each life, and the keys of two pages are independent.
 * Folding mixes the upper half of a product into its lower half, so no bit of the result depends on
 * few bits of the key. Folding cannot be undone: half of the product is lost, and then half of the
 * hash. Canaries that a program leaks by a bug of its own help an attacker in no other page.
 *
 * A canary that is left in a freed block or page is void: the next block there overwrites it, and
 * the next page there has another key.
 *
 * The pad pattern does not depend on a key. It is a random word of the process, changed by the
 * position of the block in its slice. Its eight bytes differ, so that a run of one byte value
 * written over it is noticed. Each byte is at least 0x80, so that ASCII text and its terminating
 * zero are noticed. What a freed block keeps of the pattern tells its next owner nothing new.
 */
#pragma once

#include "block_state.h"
#include "block_words.h"

/* True if `p`, any address in the page, starts a live block whose canary is whole. No report. */
#if MI_SECURE > 0
INTERNAL bool canary_is_sound(page_t* page, const void* p);
#else
static inline bool canary_is_sound(page_t* page, const void* p) {
  return (void)page, (void)p, true;
}
#endif

#if SECURE_CANARIES
/* False after a report: the canary has changed, or another thread has just freed the block. */
INTERNAL bool canary_check(page_t* page, const void* p);
/* Writes the canary of a new block of `size` bytes. */
INTERNAL void canary_write(page_t* page, void* p, size_t size);
/* Moves the canary to the end of a block that changes its requested size. The bytes that the block
 * gains are cleared, so that the program never reads the pad pattern there. */
INTERNAL void canary_rewrite(page_t* page, void* p, size_t size);
/* Clears the canary of a block that was freed, or that is to be resized. */
INTERNAL void canary_clear(page_t* page, void* p);
/* The requested size, from the canary; 0 after a report that the canary is broken. */
INTERNAL size_t canary_size(page_t* page, const void* p);
/* Gives a page, or a large block, a new random key. */
INTERNAL void canary_new_key(page_t* page);
INTERNAL void canary_init(void);

/* ---- for checked_block.c, which needs these inline ---- */

/* Two equal words of bytes from 0x80 to 0xff; written once, when the process starts. */
static uint64_t pattern[2];

static inline uint64_t hash_of(const page_t* page, const char* at, size_t padding) {
  uint64_t x = multiply_fold((uintptr_t)at ^ page->key[0], padding ^ page->key[1]);
  __asm__("" : "+r"(page)); /* makes the compiler load the key again: fewer registers */
  return multiply_fold(x ^ page->key[1], page->key[0]);
}
static inline uint64_t canary_of(const page_t* page, const char* at, size_t padding) {
  return (hash_of(page, at, padding) & ~(uint64_t)UINT32_MAX) | padding;
}

static inline uint32_t position_bits(const char* at) {
  return ((uint32_t)(uint16_t)(uintptr_t)at * UINT32_C(0x9e3779b1)) & UINT32_C(0x7f7f7f7f);
}

static inline uint64_t pattern_of(const char* at) {
  uint32_t bits = position_bits(at);
  return ((uint64_t)bits << 32 | bits) ^ pattern[0];
}
static inline uint64_t load_word(const char* at) {
  uint64_t word;
  memcpy(&word, at, sizeof(word));
  return word;
}

static inline void store_word(char* at, uint64_t word) { memcpy(at, &word, sizeof(word)); }

/* Mask of the last `n` bytes, 1 to 8, of a word in memory. */
static inline uint64_t last_bytes(size_t n) {
  bool is_big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  return is_big_endian ? ~UINT64_C(0) >> (8 * (8 - n)) : ~UINT64_C(0) << (8 * (8 - n));
}

/* Small blocks have less than two words of padding, unless an alignment was asked for. So the short
 * paths always read the two words before the canary: a mask takes the place of a branch that the
 * processor would mispredict. A block of two words has only one word before its canary. */
typedef struct padding_s {
  loose_pair_t mask, filled; /* of these two words: the bytes that are padding; the pad pattern */
} padding_t;
typedef uint32_t halves_t __attribute__((vector_size(16), may_alias));

#define PADDING_SHORT ((size_t)16)

/* All 17 masks of short padding, each one byte further into the table than the one before: the two
 * words from byte `n` on are the mask of their last `n` bytes. */
static const uint64_t padding_masks[4] = {0, 0, UINT64_MAX, UINT64_MAX};
_Static_assert(sizeof(padding_masks) == PADDING_SHORT + sizeof(loose_pair_t),
               "the mask for the longest short padding ends with the table");

static inline const loose_pair_t* padding_mask(size_t padding) {
  mi_assert_internal(padding <= PADDING_SHORT);
  return (const loose_pair_t*)(const void*)((const char*)padding_masks + padding);
}

static inline void find_short_padding(const char* at, size_t padding, padding_t* s) {
  const uint32_t bits = position_bits(at);
  const halves_t mix = {bits, bits, bits, bits};
  s->mask = *padding_mask(padding);
  s->filled = (pair_t)mix ^ *(const loose_pair_t*)(const void*)pattern;
}

static inline loose_pair_t* before(char* at) { return (loose_pair_t*)(void*)(at - 16); }

static inline char* small_canary_address(const page_t* page, const void* p) {
  return (char*)(uintptr_t)p + page->block_size - CANARY_SIZE;
}

/* Reads the length of the padding from the canary at `at`; false if the hash is wrong. */
static inline bool read_canary(const page_t* page, const char* at, size_t* padding) {
  uint64_t canary = load_word(at);
  *padding = (uint32_t)canary;
  return (canary ^ hash_of(page, at, *padding)) >> 32 == 0;
}

/* The same; also false if the padding would begin before the block. */
static inline bool read_canary_of(const page_t* page, const char* at, const void* p,
                                  size_t* padding) {
  return read_canary(page, at, padding) && *padding <= (size_t)(at - (const char*)p);
}

static inline void fill_part(char* at, uint64_t mask, uint64_t bytes) {
  store_word(at, (load_word(at) & ~mask) | (bytes & mask));
}

static inline void write_short_canary(const page_t* page, char* at, size_t padding) {
  padding_t s;
  store_word(at, canary_of(page, at, padding));
  find_short_padding(at, padding, &s);
  *before(at) = (*before(at) & ~s.mask) | (s.filled & s.mask);
}

/* Mask of the last `padding` bytes, 0 to 8, of a word in memory. */
static inline uint64_t tiny_mask(size_t padding) {
  mi_assert_internal(padding <= sizeof(uint64_t));
  return load_word((const char*)padding_masks + sizeof(uint64_t) + padding);
}

INTERNAL void write_canary(const page_t* page, char* at, void* p, size_t size);
/* True if the `padding` bytes before `at` are the pattern `bytes`. */
INTERNAL bool long_is_filled(const char* at, size_t padding, uint64_t bytes);
#else
static inline void canary_write(page_t* page, void* p, size_t size) {
  (void)page, (void)p, (void)size;
}
static inline bool canary_check(page_t* page, const void* p) { return (void)page, (void)p, true; }
static inline void canary_rewrite(page_t* page, void* p, size_t size) {
  (void)page, (void)p, (void)size;
}
static inline void canary_clear(page_t* page, void* p) { (void)page, (void)p; }
static inline void canary_new_key(page_t* page) { (void)page; }
static inline void canary_init(void) {}
#endif
