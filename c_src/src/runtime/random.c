/* random.c - unpredictable numbers for secure builds; see random.h.
 *
 * Owns:    the key of the generator, and its counter.
 * Always:  a child process changes its key at its first number at the latest. fork runs the
 *          library's handler; after other calls that make a child, the system has zeroed a word.
 * Threads: any. While one thread changes the key, another may use half of each key, which is as
 *          good.
 *
 * The function is SipHash-2-4 (Aumasson and Bernstein, 2012) of a message of eight bytes, with a
 * result of 128 bits.
 */
#include "random.h"
#include "log.h"

#if MI_SECURE > 0

static _Atomic(uint32_t) random_epoch;

static struct {
  _Atomic(uint64_t) key[2]; /* relaxed, as the rest: they publish nothing */
  _Atomic(uint64_t) count;  /* of numbers */
  _Atomic(uint64_t)* alive; /* the system sets the word to 0 in a child process */
  bool weak;                /* the system gave no random numbers */
} generator;

/* Mixes the system's random numbers into the key, which never makes it weaker. False: the system
 * gave none. */
static bool stir(void) {
  bool good = true;
  for (size_t i = 0; i < 2; i++) {
    uint64_t word;
    good &= os_random(&word);
    store_relaxed(&generator.key[i], load_relaxed(&generator.key[i]) ^ word);
  }
  return good;
}

static void mark_alive(void) {
  if (generator.alive != NULL) store_relaxed(generator.alive, 1);
}

INTERNAL void random_init(void) {
  generator.weak = !stir();
  generator.alive = os_word_of_process();
  mark_alive();
}

INTERNAL void random_unload(void) {
  if (generator.alive != NULL) os_release((void*)generator.alive, os_info.page_size);
  generator.alive = NULL;
}

INTERNAL void random_warn(void) {
  if (generator.weak)
    log_warning("the system gives no random numbers: keys and places may be guessed\n");
}

static COLD void begin_epoch(void) {
  mark_alive();
  (void)stir();
  add_relaxed(&random_epoch, 1);
}

INTERNAL void random_after_fork(bool child) {
  if (child)
    begin_epoch();
  else
    (void)stir(); /* otherwise the child could compute the parent's next numbers */
}

typedef struct sip_s {
  uint64_t a, b, c, d;
} sip_t;
static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }
static inline void sip_round(sip_t* s) {
  s->a += s->b, s->c += s->d;
  s->b = rotate(s->b, 13) ^ s->a, s->d = rotate(s->d, 16) ^ s->c;
  s->a = rotate(s->a, 32);
  s->c += s->b, s->a += s->d;
  s->b = rotate(s->b, 17) ^ s->c, s->d = rotate(s->d, 21) ^ s->a;
  s->c = rotate(s->c, 32);
}
static inline void sip_absorb(sip_t* s, uint64_t word) {
  s->d ^= word;
  sip_round(s), sip_round(s);
  s->a ^= word;
}
static inline uint64_t sip_result(sip_t* s) {
  for (int i = 0; i < 4; i++) sip_round(s);
  return s->a ^ s->b ^ s->c ^ s->d;
}
static void sip_of_word(uint64_t word, uint64_t key0, uint64_t key1, uint64_t result[2]) {
  sip_t s = {key0 ^ UINT64_C(0x736f6d6570736575), key1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
             key0 ^ UINT64_C(0x6c7967656e657261), key1 ^ UINT64_C(0x7465646279746573)};
  sip_absorb(&s, word);
  sip_absorb(&s, (uint64_t)sizeof(word) << 56); /* the length of the message */
  s.c ^= 0xee;
  result[0] = sip_result(&s);
  s.b ^= 0xdd;
  result[1] = sip_result(&s);
}

INTERNAL void random_words(uint64_t words[2]) {
  if (unlikely(generator.alive != NULL && load_relaxed(generator.alive) == 0)) begin_epoch();
  sip_of_word(add_relaxed(&generator.count, 1), load_relaxed(&generator.key[0]),
              load_relaxed(&generator.key[1]), words);
}

INTERNAL random_t random_start(void) {
  uint64_t words[2];
  random_words(words);
  random_t random = {0, words[0], words[1]};
  (void)random_next(&random);
  return random;
}

#endif
