/* factor.c - splits products of primes by Pollard's rho, on numbers that live on the heap.
 *
 * Usage:  factor NUMBERS
 * Every operation allocates its result and whatever it needs on the way: very many blocks of 8 to
 * 48 bytes that live for a microsecond, hardly any live memory, arithmetic in between.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { LIMB_BITS = 32, MOST_PARTS = 6, PRIME_BITS = 24, GCD_EVERY = 64, SIEVED = 1 << 20 };

/* Least limb first; no leading zero limb, zero has none at all. */
struct num {
  uint32_t limbs;
  uint32_t limb[];
};

static struct num* num_new(uint32_t limbs) {
  struct num* a = bench_alloc(sizeof *a + limbs * sizeof a->limb[0]);
  a->limbs = limbs;
  return a;
}

static struct num* num_trimmed(struct num* a) {
  while (a->limbs > 0 && a->limb[a->limbs - 1] == 0) a->limbs--;
  return a;
}

static struct num* num_of(uint32_t value) {
  struct num* a = num_new(1);
  a->limb[0] = value;
  return num_trimmed(a);
}

static int num_is(const struct num* a, uint32_t value) {
  return value == 0 ? a->limbs == 0 : a->limbs == 1 && a->limb[0] == value;
}

static int num_compare(const struct num* a, const struct num* b) {
  if (a->limbs != b->limbs) return a->limbs < b->limbs ? -1 : 1;
  for (uint32_t i = a->limbs; i-- > 0;)
    if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
  return 0;
}

static struct num* num_plus_small(const struct num* a, uint32_t b) {
  struct num* sum = num_new(a->limbs + 1);
  uint64_t carry = b;
  for (uint32_t i = 0; i < a->limbs; i++) {
    carry += a->limb[i];
    sum->limb[i] = (uint32_t)carry;
    carry >>= LIMB_BITS;
  }
  sum->limb[a->limbs] = (uint32_t)carry;
  return num_trimmed(sum);
}

static struct num* num_distance(const struct num* a, const struct num* b) {
  if (num_compare(a, b) < 0) return num_distance(b, a);
  struct num* difference = num_new(a->limbs);
  int64_t borrow = 0;
  for (uint32_t i = 0; i < a->limbs; i++) {
    borrow += (int64_t)a->limb[i] - (i < b->limbs ? b->limb[i] : 0);
    difference->limb[i] = (uint32_t)borrow;
    borrow = borrow < 0 ? -1 : 0;
  }
  return num_trimmed(difference);
}

static struct num* num_times(const struct num* a, const struct num* b) {
  struct num* product = num_new(a->limbs + b->limbs);
  for (uint32_t i = 0; i < product->limbs; i++) product->limb[i] = 0;
  for (uint32_t i = 0; i < a->limbs; i++) {
    uint64_t carry = 0;
    for (uint32_t k = 0; k < b->limbs; k++) {
      carry += (uint64_t)a->limb[i] * b->limb[k] + product->limb[i + k];
      product->limb[i + k] = (uint32_t)carry;
      carry >>= LIMB_BITS;
    }
    product->limb[i + b->limbs] = (uint32_t)carry;
  }
  return num_trimmed(product);
}

/* A copy, `bits` (0 to 31) to the left, with one limb more. Not trimmed. */
static struct num* num_shifted(const struct num* a, unsigned bits) {
  struct num* shifted = num_new(a->limbs + 1);
  uint64_t carry = 0;
  for (uint32_t i = 0; i < a->limbs; i++) {
    carry |= (uint64_t)a->limb[i] << bits;
    shifted->limb[i] = (uint32_t)carry;
    carry >>= LIMB_BITS;
  }
  shifted->limb[a->limbs] = (uint32_t)carry;
  return shifted;
}

/* Schoolbook division: the divisor is shifted until its top bit is set, so that the first guess
 * of each digit is at most two too large. The remainder replaces *rest. */
static struct num* num_divide(const struct num* a, const struct num* b, struct num** rest) {
  if (num_compare(a, b) < 0) {
    *rest = num_shifted(a, 0);
    num_trimmed(*rest);
    return num_new(0);
  }
  unsigned shift = (unsigned)__builtin_clz(b->limb[b->limbs - 1]);
  struct num* left = num_shifted(a, shift);
  struct num* by = num_trimmed(num_shifted(b, shift));
  struct num* quotient = num_new(a->limbs - b->limbs + 1);
  uint64_t top = by->limb[by->limbs - 1];
  for (uint32_t at = quotient->limbs; at-- > 0;) {
    uint32_t* part = left->limb + at;
    uint64_t guess = (((uint64_t)part[by->limbs] << LIMB_BITS) | part[by->limbs - 1]) / top;
    if (guess > UINT32_MAX) guess = UINT32_MAX;
    int64_t borrow = 0;
    uint64_t carry = 0;
    for (uint32_t i = 0; i < by->limbs; i++) {
      carry += guess * by->limb[i];
      borrow += (int64_t)part[i] - (uint32_t)carry;
      part[i] = (uint32_t)borrow;
      carry >>= LIMB_BITS;
      borrow = borrow < 0 ? -1 : 0;
    }
    int64_t over = (int64_t)part[by->limbs] - (int64_t)carry + borrow;
    while (over < 0) {
      guess--;
      carry = 0;
      for (uint32_t i = 0; i < by->limbs; i++) {
        carry += (uint64_t)part[i] + by->limb[i];
        part[i] = (uint32_t)carry;
        carry >>= LIMB_BITS;
      }
      over += (int64_t)carry;
    }
    part[by->limbs] = 0;
    quotient->limb[at] = (uint32_t)guess;
  }
  struct num* shifted_back = num_new(by->limbs);
  for (uint32_t i = 0; i < by->limbs; i++) {
    uint64_t two = left->limb[i] | (uint64_t)left->limb[i + 1] << LIMB_BITS;
    shifted_back->limb[i] = (uint32_t)(two >> shift);
  }
  free(left);
  free(by);
  *rest = num_trimmed(shifted_back);
  return num_trimmed(quotient);
}

static struct num* num_modulo(const struct num* a, const struct num* b) {
  struct num* rest = NULL;
  free(num_divide(a, b, &rest));
  return rest;
}

static struct num* num_gcd(const struct num* a, const struct num* b) {
  struct num* x = num_shifted(a, 0);
  struct num* y = num_shifted(b, 0);
  num_trimmed(x);
  num_trimmed(y);
  while (!num_is(y, 0)) {
    struct num* rest = num_modulo(x, y);
    free(x);
    x = y;
    y = rest;
  }
  free(y);
  return x;
}

static void num_replace(struct num** at, struct num* by) {
  free(*at);
  *at = by;
}

/* One step of the sequence x -> x * x + c. */
static void rho_step(struct num** x, uint32_t c, const struct num* n) {
  struct num* square = num_times(*x, *x);
  struct num* next = num_plus_small(square, c);
  free(square);
  num_replace(x, num_modulo(next, n));
  free(next);
}

/* A divisor that is neither 1 nor n; n must be composite. */
static struct num* rho_divisor(const struct num* n) {
  for (uint32_t c = 1;; c++) {
    struct num* slow = num_of(2);
    struct num* fast = num_of(2);
    struct num* product = num_of(1);
    struct num* divisor = num_of(1);
    for (size_t i = 1; num_is(divisor, 1); i++) {
      rho_step(&slow, c, n);
      rho_step(&fast, c, n);
      rho_step(&fast, c, n);
      struct num* distance = num_distance(slow, fast);
      struct num* larger = num_times(product, distance);
      num_replace(&product, num_modulo(larger, n));
      free(distance);
      free(larger);
      if (i % GCD_EVERY == 0) num_replace(&divisor, num_gcd(n, product));
    }
    free(slow);
    free(fast);
    free(product);
    if (num_compare(divisor, n) != 0) return divisor;
    free(divisor); /* all primes were caught between two looks: another sequence */
  }
}

/* All primes lie between 2^24 and 2^25: what fits into 32 bits is one of them. */
static uint64_t split(struct num* n) {
  uint64_t sum = 0;
  if (n->limbs == 1) {
    sum = (uint64_t)n->limb[0] * n->limb[0];
  } else {
    struct num* divisor = rho_divisor(n);
    struct num* rest = NULL;
    struct num* other = num_divide(n, divisor, &rest);
    if (!num_is(rest, 0)) bench_die("a divisor does not divide");
    free(rest);
    sum = split(divisor) + split(other);
  }
  free(n);
  return sum;
}

/* The primes below SIEVED, then 0. */
static uint32_t* small_primes(void) {
  unsigned char* composite = bench_zeroed(SIEVED, 1);
  uint32_t* primes = NULL;
  size_t count = 0;
  for (uint32_t p = 2; p < SIEVED; p++) {
    if (composite[p]) continue;
    if ((count & (count - 1)) == 0) primes = bench_resize(primes, (2 * count + 1) * sizeof *primes);
    primes[count++] = p;
    for (size_t i = (size_t)p * p; i < SIEVED; i += p) composite[i] = 1;
  }
  free(composite);
  primes[count - 1] = 0; /* the largest one makes room */
  return primes;
}

static uint32_t random_prime(struct rng* rng, const uint32_t* primes) {
  uint32_t p = (uint32_t)rng_between(rng, 1u << PRIME_BITS, (2u << PRIME_BITS) - 1000) | 1;
  for (;; p += 2) {
    size_t i = 0;
    while (primes[i] * primes[i] <= p && p % primes[i] != 0) i++;
    if (primes[i] * primes[i] > p) return p;
  }
}

int main(int argc, char** argv) {
  bench_start();
  size_t numbers = bench_arg(argc, argv, 1, 10);
  struct rng rng = rng_new(0);
  uint64_t sum = 0;
  uint32_t* primes = small_primes();
  for (size_t i = 0; i < numbers; i++) {
    struct num* n = num_of(random_prime(&rng, primes));
    size_t parts = rng_between(&rng, 3, MOST_PARTS);
    for (size_t k = 1; k < parts; k++) {
      struct num* prime = num_of(random_prime(&rng, primes));
      num_replace(&n, num_times(n, prime));
      free(prime);
    }
    sum = sum * 31 + split(n);
  }
  free(primes);
  bench_finish("factor", sum);
  return 0;
}
