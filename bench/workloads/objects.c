/* objects.c - the heap of a small interpreter: strings, arrays, tables, mark and sweep.
 *
 * Usage:  objects STEPS SESSIONS
 * Objects have one fixed size; the contents of strings, arrays and tables are blocks of their own
 * that grow by realloc. Each step does what a script does: joins and splits strings, stores them
 * in the table of one of SESSIONS sessions, looks through the table, forgets a session now and
 * then. What is no longer reachable is freed late and in one sweep, in the order of allocation.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { FIRST = 4, FORGET_ONE_IN = 64, SCAN_ONE_IN = 2, MOST_WORDS = 12, SWEEP_LEAST = 20000 };

enum kind { NUMBER, STRING, ARRAY, TABLE };

/* Tables are arrays of key and value, with open addressing; room is then a power of two. */
struct object {
  struct object* older;
  enum kind kind;
  int marked;
  size_t count;
  size_t room;
  union {
    double number;
    char* text;
    struct object** items;
  };
};

static struct {
  struct object* newest;
  struct object* sessions; /* the only root */
  size_t alive;
  size_t sweep_at;
  uint64_t swept;
} heap;

static struct object* object_new(enum kind kind) {
  struct object* o = bench_zeroed(1, sizeof *o);
  o->kind = kind;
  o->older = heap.newest;
  heap.newest = o;
  heap.alive++;
  return o;
}

static struct object* number_new(double number) {
  struct object* o = object_new(NUMBER);
  o->number = number;
  return o;
}

static void string_append(struct object* o, const char* text, size_t count) {
  if (o->count + count + 1 > o->room) {
    size_t room = o->room * 2;
    if (room < o->count + count + 1) room = o->count + count + 1;
    o->text = bench_resize(o->text, room);
    o->room = room;
  }
  memcpy(o->text + o->count, text, count);
  o->count += count;
  o->text[o->count] = 0;
}

static struct object* string_new(const char* text, size_t count) {
  struct object* o = object_new(STRING);
  string_append(o, text, count);
  return o;
}

static void array_push(struct object* o, struct object* item) {
  if (o->count == o->room) {
    o->room = o->room == 0 ? FIRST : o->room * 2;
    o->items = bench_resize(o->items, o->room * sizeof *o->items);
  }
  o->items[o->count++] = item;
}

static uint64_t string_hash(const struct object* s) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < s->count; i++) h = (h ^ (unsigned char)s->text[i]) * 0x100000001b3u;
  return h ^ h >> 32;
}

/* The place of the key, or the empty one where it belongs. */
static struct object** table_place(struct object* t, const struct object* key) {
  size_t i = string_hash(key) & (t->room - 1);
  for (;; i = (i + 1) & (t->room - 1)) {
    struct object** at = &t->items[2 * i];
    if (*at == NULL) return at;
    if ((*at)->count == key->count && memcmp((*at)->text, key->text, key->count) == 0) return at;
  }
}

static void table_set(struct object* t, struct object* key, struct object* value) {
  if (4 * (t->count + 1) > 3 * t->room) {
    struct object** old = t->items;
    size_t old_room = t->room;
    t->room = old_room == 0 ? FIRST : 2 * old_room;
    t->items = bench_zeroed(2 * t->room, sizeof *t->items);
    for (size_t i = 0; i < old_room; i++) {
      if (old[2 * i] == NULL) continue;
      struct object** at = table_place(t, old[2 * i]);
      at[0] = old[2 * i];
      at[1] = old[2 * i + 1];
    }
    free(old);
  }
  struct object** at = table_place(t, key);
  if (at[0] == NULL) {
    at[0] = key;
    t->count++;
  }
  at[1] = value;
}

static struct object* table_get(struct object* t, const struct object* key) {
  if (t->room == 0) return NULL;
  struct object** at = table_place(t, key);
  return at[0] == NULL ? NULL : at[1];
}

/* Values are at most sessions, tables and arrays deep. */
static void mark(struct object* o) {
  if (o == NULL || o->marked) return;
  o->marked = 1;
  size_t items = o->kind == ARRAY ? o->count : o->kind == TABLE ? 2 * o->room : 0;
  for (size_t i = 0; i < items; i++) mark(o->items[i]);
}

static void object_free(struct object* o) {
  if (o->kind == STRING) free(o->text);
  if (o->kind == ARRAY || o->kind == TABLE) free(o->items);
  free(o);
}

static void heap_sweep(void) {
  mark(heap.sessions);
  for (struct object** at = &heap.newest; *at != NULL;) {
    struct object* o = *at;
    if (o->marked) {
      o->marked = 0;
      at = &o->older;
    } else {
      *at = o->older;
      object_free(o);
      heap.alive--;
      heap.swept++;
    }
  }
  heap.sweep_at = heap.alive + heap.alive / 2 + SWEEP_LEAST;
}

static struct object* line_new(struct rng* rng) {
  struct object* line = string_new("", 0);
  size_t words = rng_between(rng, 1, MOST_WORDS);
  for (size_t i = 0; i < words; i++) {
    char word[16];
    int length = snprintf(word, sizeof word, "%x ", rng_next(rng) >> (16 + rng_next(rng) % 12));
    string_append(line, word, (size_t)length);
  }
  return line;
}

static struct object* line_split(const struct object* line) {
  struct object* words = object_new(ARRAY);
  for (const char* from = line->text; *from != 0;) {
    const char* to = from;
    while (*to != ' ') to++;
    array_push(words, string_new(from, (size_t)(to - from)));
    from = to + 1;
  }
  return words;
}

/* What scripts do with their tables: look at everything in them. */
static double table_scan(const struct object* t) {
  double sum = 0;
  for (size_t i = 0; i < t->room; i++) {
    const struct object* key = t->items[2 * i];
    if (key == NULL) continue;
    const struct object* value = t->items[2 * i + 1];
    sum += (double)(string_hash(key) >> 60);
    if (value->kind == NUMBER) sum += value->number;
    if (value->kind == STRING) sum += (double)(string_hash(value) >> 60);
    for (size_t k = 0; value->kind == ARRAY && k < value->count; k++)
      sum += (double)value->items[k]->count;
  }
  return sum;
}

static void step(struct rng* rng, size_t number) {
  size_t at = rng_between(rng, 0, heap.sessions->count - 1);
  if (rng_next(rng) % FORGET_ONE_IN == 0) heap.sessions->items[at] = object_new(TABLE);
  struct object* session = heap.sessions->items[at];
  struct object* line = line_new(rng);
  struct object* words = line_split(line);
  for (size_t i = 0; i < words->count; i++) {
    struct object* seen = table_get(session, words->items[i]);
    if (seen == NULL || seen->kind != NUMBER) continue;
    table_set(session, words->items[i], number_new(seen->number + 1));
  }
  table_set(session, words->items[0], number_new(1));
  if (words->count % 2 == 0) table_set(session, line, words);
  if (number % 16 == 0) table_set(session, words->items[words->count - 1], line);
  if (number % SCAN_ONE_IN != 0) return;
  struct object* report = line_new(rng);
  table_set(session, report, number_new(table_scan(session)));
}

int main(int argc, char** argv) {
  bench_start();
  size_t steps = bench_arg(argc, argv, 1, 10000);
  size_t sessions = bench_arg(argc, argv, 2, 100);
  struct rng rng = rng_new(0);
  heap.sessions = object_new(ARRAY);
  heap.sweep_at = SWEEP_LEAST;
  for (size_t i = 0; i < sessions; i++) array_push(heap.sessions, object_new(TABLE));
  for (size_t i = 0; i < steps; i++) {
    step(&rng, i);
    if (heap.alive > heap.sweep_at) heap_sweep(); /* between steps: nothing is on the stack */
  }
  uint64_t sum = heap.swept * 31 + heap.alive;
  for (size_t i = 0; i < sessions; i++) sum = sum * 31 + heap.sessions->items[i]->count;
  while (heap.newest != NULL) {
    struct object* o = heap.newest;
    heap.newest = o->older;
    object_free(o);
  }
  bench_finish("objects", sum);
  return 0;
}
