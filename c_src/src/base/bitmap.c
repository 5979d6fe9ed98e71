/* bitmap.c - see bitmap.h. */
#include "bitmap.h"

/* The part of a run that lies in one word. */
typedef struct part_s {
  bitword_t* word;
  uint64_t mask;
  size_t bits;
} part_t;

static part_t part_of(bitword_t* words, size_t i, size_t n) {
  size_t bit = i % BITS_PER_WORD, k = min_size(n, BITS_PER_WORD - bit);
  uint64_t ones = k >= BITS_PER_WORD ? ~UINT64_C(0) : (UINT64_C(1) << k) - 1;
  return (part_t){&words[i / BITS_PER_WORD], ones << bit, k};
}
/* Each part of [i, i + n), in rising order; changes `i` and `n`. */
#define FOR_PARTS(part, words, i, n)                                                               \
  for (part_t part; (n) > 0 && (part = part_of(words, i, n), true);                                \
       (i) += part.bits, (n) -= part.bits)

INTERNAL bool bitmap_claim_at(bitword_t* words, size_t i, size_t n) {
  size_t from = i;
  FOR_PARTS(part, words, i, n) {
    uint64_t w = load_relaxed(part.word);
    do {
      if ((w & part.mask) != part.mask) {
        if (i > from) bitmap_set(words, from, i - from);
        return false;
      }
    } while (!cas_acquire(part.word, &w, w & ~part.mask));
  }
  return true;
}

/* The index of the first bit from `i` on that equals `value`; `bits` if there is none. */
INTERNAL size_t bitmap_next(bitword_t* words, size_t bits, size_t i, bool value) {
  while (i < bits) {
    uint64_t w = load_relaxed(&words[i / BITS_PER_WORD]); /* a hint, the claim decides */
    if (!value) w = ~w;
    w >>= i % BITS_PER_WORD;
    if (w != 0) return min_size(bits, i + lowest_bit(w));
    i = (i / BITS_PER_WORD + 1) * BITS_PER_WORD;
  }
  return bits;
}

/* The first bit from `i` on that begins a run of `n` set bits, at most a word, before `bits`; word
 * by word: and-ing a word with itself shifted leaves the bits that begin longer and longer runs. */
static size_t next_run(bitword_t* words, size_t bits, size_t i, size_t n) {
  uint64_t from = ~UINT64_C(0) << i % BITS_PER_WORD;
  for (size_t w = i / BITS_PER_WORD; w < bitmap_words(bits); w++, from = ~UINT64_C(0)) {
    uint64_t bits_of_word = load_relaxed(&words[w]) & from, runs = bits_of_word;
    if (runs == 0) continue;
    size_t length = 1, start = w * BITS_PER_WORD;
    for (; 2 * length <= n; length *= 2) runs &= runs >> length;
    if (n > length) runs &= runs >> (n - length);
    if (runs != 0) {
      start += lowest_bit(runs);
    } else {
      size_t head = leading_ones(bits_of_word);
      start += BITS_PER_WORD - head;
      if (head == 0 || start + n > bits || !bitmap_all(words, start + head, n - head)) continue;
    }
    return start + n <= bits ? start : bits;
  }
  return bits;
}

INTERNAL size_t bitmap_claim(bitword_t* words, bitword_t* wanted, size_t bits, size_t from,
                             size_t n, size_t align, size_t phase) {
  size_t i = from;
  for (;;) {
    if (align == 1 && n <= BITS_PER_WORD)
      i = next_run(wanted, bits, i, n);
    else
      i = round_up(bitmap_next(wanted, bits, i, true) + phase, align) - phase;
    if (i >= bits || bits - i < n) return BITMAP_NONE;
    size_t end = bitmap_next(wanted, min_size(bits, i + n), i, false);
    if (end < i + n) {
      i = end + 1;
    } else if (bitmap_claim_at(words, i, n)) {
      return i;
    } else if (words != wanted) {
      i++;
    } /* else another thread was faster: search again from the same bit */
  }
}

INTERNAL void bitmap_set(bitword_t* words, size_t i, size_t n) {
  /* Sequentially consistent, for the purge schedule: see arena_purge.c. */
  FOR_PARTS(part, words, i, n) or_seq_cst(part.word, part.mask);
}

INTERNAL size_t bitmap_clear(bitword_t* words, size_t i, size_t n) {
  size_t cleared = 0;
  FOR_PARTS(part, words, i, n) {
    if ((load_relaxed(part.word) & part.mask) == 0) continue;
    uint64_t were_set = and_acquire(part.word, ~part.mask) & part.mask;
    /* Many processors have to loop to count bits. */
    cleared += were_set == part.mask ? part.bits : count_bits(were_set);
  }
  return cleared;
}

INTERNAL size_t bitmap_change(bitword_t* words, size_t i, size_t n, bool value) {
  size_t changed = 0;
  FOR_PARTS(part, words, i, n) {
    uint64_t before =
        value ? ~or_seq_cst(part.word, part.mask) : and_seq_cst(part.word, ~part.mask);
    changed += count_bits(before & part.mask);
  }
  return changed;
}

INTERNAL bool bitmap_any(bitword_t* words, size_t i, size_t n) {
  return bitmap_next(words, i + n, i, true) < i + n;
}

INTERNAL bool bitmap_all(bitword_t* words, size_t i, size_t n) {
  return bitmap_next(words, i + n, i, false) >= i + n;
}

INTERNAL size_t bitmap_count_run(bitword_t* words, size_t i, size_t n) {
  size_t set = 0;
  FOR_PARTS(part, words, i, n) set += count_bits(load_relaxed(part.word) & part.mask);
  return set;
}

INTERNAL size_t bitmap_count(bitword_t* words, size_t bits) {
  size_t n = 0;
  for (size_t i = 0; i < bitmap_words(bits); i++) n += count_bits(load_relaxed(&words[i]));
  return n;
}
