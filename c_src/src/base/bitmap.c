/* bitmap.c - see bitmap.h. */
#include "bitmap.h"

static uint64_t mask_of(size_t bit, size_t n) {
  return (n >= BITS_PER_WORD ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << bit;
}

/* The part of [i, i + n) that lies in i's word. */
static size_t part_of(size_t i, size_t n) { return min_size(n, BITS_PER_WORD - i % BITS_PER_WORD); }

INTERNAL bool bitmap_claim_at(bitword_t* words, size_t i, size_t n) {
  size_t done = 0;
  while (done < n) {
    size_t at = i + done, k = part_of(at, n - done);
    uint64_t mask = mask_of(at % BITS_PER_WORD, k);
    bitword_t* word = &words[at / BITS_PER_WORD];
    uint64_t w = load_relaxed(word);
    do {
      if ((w & mask) != mask) {
        if (done > 0) bitmap_set(words, i, done);
        return false;
      }
    } while (!cas_acquire(word, &w, w & ~mask));
    done += k;
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
  while (n > 0) {
    size_t k = part_of(i, n);
    /* Sequentially consistent, for the purge schedule: see arena_purge.c. */
    or_seq_cst(&words[i / BITS_PER_WORD], mask_of(i % BITS_PER_WORD, k));
    i += k, n -= k;
  }
}

INTERNAL size_t bitmap_clear(bitword_t* words, size_t i, size_t n) {
  size_t cleared = 0;
  while (n > 0) {
    size_t k = part_of(i, n);
    uint64_t mask = mask_of(i % BITS_PER_WORD, k);
    bitword_t* word = &words[i / BITS_PER_WORD];
    if ((load_relaxed(word) & mask) != 0) {
      uint64_t were_set = and_acquire(word, ~mask) & mask;
      cleared += were_set == mask ? k : count_bits(were_set); /* many processors have to loop */
    }
    i += k, n -= k;
  }
  return cleared;
}

INTERNAL size_t bitmap_change(bitword_t* words, size_t i, size_t n, bool value) {
  size_t changed = 0;
  while (n > 0) {
    size_t k = part_of(i, n);
    uint64_t mask = mask_of(i % BITS_PER_WORD, k);
    bitword_t* word = &words[i / BITS_PER_WORD];
    uint64_t before = value ? ~or_seq_cst(word, mask) : and_seq_cst(word, ~mask);
    changed += count_bits(before & mask);
    i += k, n -= k;
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
  for (size_t k; n > 0; i += k, n -= k) {
    k = part_of(i, n);
    set += count_bits(load_relaxed(&words[i / BITS_PER_WORD]) & mask_of(i % BITS_PER_WORD, k));
  }
  return set;
}

INTERNAL size_t bitmap_count(bitword_t* words, size_t bits) {
  size_t n = 0;
  for (size_t i = 0; i < bitmap_words(bits); i++) n += count_bits(load_relaxed(&words[i]));
  return n;
}
