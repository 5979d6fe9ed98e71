/* words.c - strings counted in a hash table that grows: calloc, short strings, a few realloc.
 *
 * Usage:  words WORDS
 * Words are drawn from a skewed distribution; each 16th word is forgotten again.
 */
#define _GNU_SOURCE
#include "bench.h"

struct entry {
  struct entry* next;
  char* word;
  uint64_t hash;
  size_t seen;
};

struct table {
  struct entry** buckets;
  size_t count;
  size_t capacity; /* a power of two */
};

enum { FIRST_CAPACITY = 64, VOCABULARY_LOG2 = 20, FORGET_EVERY = 16 };

static void* zeroed(size_t count, size_t bytes) {
  void* p = calloc(count, bytes);
  if (p == NULL) bench_die("out of memory");
  return p;
}

/* Fowler, Noll and Vo's hash, 64 bits. */
static uint64_t hash_of(const char* s) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *s != 0; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
  return h;
}

static void table_grow(struct table* t) {
  size_t capacity = t->capacity * 2;
  struct entry** buckets = zeroed(capacity, sizeof *buckets);
  for (size_t i = 0; i < t->capacity; i++) {
    for (struct entry* e = t->buckets[i]; e != NULL;) {
      struct entry* next = e->next;
      struct entry** at = &buckets[e->hash & (capacity - 1)];
      e->next = *at;
      *at = e;
      e = next;
    }
  }
  free(t->buckets);
  t->buckets = buckets;
  t->capacity = capacity;
}

static struct entry** table_find(struct table* t, const char* word, uint64_t hash) {
  struct entry** at = &t->buckets[hash & (t->capacity - 1)];
  while (*at != NULL && ((*at)->hash != hash || strcmp((*at)->word, word) != 0)) at = &(*at)->next;
  return at;
}

static void table_add(struct table* t, const char* word, uint64_t hash) {
  struct entry** at = table_find(t, word, hash);
  if (*at == NULL) {
    struct entry* e = zeroed(1, sizeof *e);
    size_t bytes = strlen(word) + 1;
    e->word = memcpy(bench_alloc(bytes), word, bytes);
    e->hash = hash;
    *at = e;
    t->count++;
  }
  (*at)->seen++;
  if (t->count > t->capacity) table_grow(t);
}

static void table_forget(struct table* t, const char* word, uint64_t hash) {
  struct entry** at = table_find(t, word, hash);
  struct entry* e = *at;
  if (e == NULL) return;
  *at = e->next;
  free(e->word);
  free(e);
  t->count--;
}

/* A product of two numbers makes low ranks frequent, as in a text. The word of a rank is its
 * number in letters, repeated, so that lengths differ: from 3 to about 60 bytes. */
static char* word_new(struct rng* rng) {
  uint32_t rank = (uint32_t)(((uint64_t)rng_next(rng) * rng_next(rng)) >> (64 - VOCABULARY_LOG2));
  size_t repeats = 1 + rank % 7;
  size_t length = 0;
  size_t capacity = 16;
  char* word = bench_alloc(capacity);
  for (size_t i = 0; i < repeats; i++) {
    for (uint32_t rest = rank; rest > 0; rest /= 23) {
      if (length + 2 > capacity) {
        capacity *= 2;
        word = realloc(word, capacity);
        if (word == NULL) bench_die("out of memory");
      }
      word[length++] = (char)('a' + rest % 23);
    }
  }
  word[length] = 0;
  return word;
}

int main(int argc, char** argv) {
  bench_start();
  size_t words = bench_arg(argc, argv, 1, 100000);
  struct rng rng = rng_new(0);
  struct table t = {zeroed(FIRST_CAPACITY, sizeof(struct entry*)), 0, FIRST_CAPACITY};
  for (size_t i = 0; i < words; i++) {
    char* word = word_new(&rng);
    uint64_t hash = hash_of(word);
    if (i % FORGET_EVERY == 0)
      table_forget(&t, word, hash);
    else
      table_add(&t, word, hash);
    free(word);
  }
  uint64_t sum = t.count;
  for (size_t i = 0; i < t.capacity; i++) {
    for (struct entry* e = t.buckets[i]; e != NULL;) {
      struct entry* next = e->next;
      sum += e->hash * e->seen;
      free(e->word);
      free(e);
      e = next;
    }
  }
  free(t.buckets);
  bench_finish("words", sum);
  return 0;
}
