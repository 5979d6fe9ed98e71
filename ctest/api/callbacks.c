/* callbacks.c - functions that the program registers.
 *
 * Each collect calls the deferred-free callback, and so does allocation, at the latest after a
 * bounded number of requests, also when the program reuses its blocks. The heartbeat grows. The
 * callback may use all heaps. Statistics go to the function that the caller passes, or to the
 * registered one.
 */
#include "heap_blocks.h"

/* ---- callbacks ------------------------------------------------------------------------------- */

typedef struct calls_s {
  size_t count;
  size_t forced;
  size_t out_of_order;
  unsigned long long heartbeat;
  bool inside;
  size_t nested;
} calls_t;

static void on_deferred_free(bool force, unsigned long long heartbeat, void* arg) {
  calls_t* calls = (calls_t*)arg;
  if (calls->inside) {
    calls->nested++;
    return;
  }
  calls->inside = true;
  calls->count++;
  calls->forced += force;
  if (calls->count > 1 && heartbeat <= calls->heartbeat) calls->out_of_order++;
  calls->heartbeat = heartbeat;
  /* May allocate and free, even enough to need the slow path. */
  void* p[64];
  for (size_t i = 0; i < COUNT_OF(p); i++) p[i] = mi_malloc(3000 + i);
  for (size_t i = 0; i < COUNT_OF(p); i++) mi_free(p[i]);
  calls->inside = false;
}

static void deferred_free_is_called_on_collect_with_its_force(void) {
  calls_t calls = {0};
  mi_free(mi_malloc(10));
  mi_register_deferred_free(&on_deferred_free, &calls);
  mi_collect(false);
  CHECK_GE(calls.count, 1);
  CHECK_EQ(calls.forced, 0);
  mi_collect(true);
  CHECK_GE(calls.forced, 1);
  CHECK_EQ(calls.out_of_order, 0);
  CHECK_EQ(calls.nested, 0);
  size_t before = calls.count;
  mi_register_deferred_free(NULL, NULL);
  mi_collect(true);
  CHECK_EQ(calls.count, before);
}

static void deferred_free_is_called_while_a_program_only_allocates(void) {
  calls_t calls = {0};
  mi_register_deferred_free(&on_deferred_free, &calls);
  enum { BLOCKS = 200000 };
  void** last = NULL;
  for (int i = 0; i < BLOCKS; i++) {
    void** p = (void**)mi_malloc(48);
    REQUIRE(p != NULL);
    *p = (void*)last;
    last = p;
  }
  check_note("%zu calls in %d allocations\n", calls.count, BLOCKS);
  CHECK_GE(calls.count, 10);
  CHECK_EQ(calls.out_of_order, 0);
  CHECK_EQ(calls.nested, 0);
  mi_register_deferred_free(NULL, NULL);
  while (last != NULL) {
    void** next = (void**)*last;
    mi_free((void*)last);
    last = next;
  }
}

/* The bound on allocations between two calls holds also when each block is freed at once. */
static void deferred_free_is_called_while_a_program_allocates_and_frees_one_block(void) {
  calls_t calls = {0};
  mi_register_deferred_free(&on_deferred_free, &calls);
  for (int i = 0; i < 1000000; i++) mi_free(opaque(mi_malloc(48)));
  check_note("%zu calls\n", calls.count);
  CHECK_GE(calls.count, 10);
  mi_register_deferred_free(NULL, NULL);
}

typedef struct sink_s {
  size_t lines;
  size_t used;
  char text[64 * 1024];
} sink_t;

static void on_output(const char* message, void* arg) {
  sink_t* sink = (sink_t*)arg;
  sink->lines++;
  size_t length = strlen(message);
  if (length > sizeof sink->text - 1 - sink->used) length = sizeof sink->text - 1 - sink->used;
  memcpy(sink->text + sink->used, message, length);
  sink->used += length;
  sink->text[sink->used] = 0;
}

static void statistics_go_to_the_passed_or_the_registered_function(void) {
  static sink_t given;
  static sink_t registered;
  mi_stats_print_out(&on_output, &given);
  CHECK_GE(given.used, 20);
  CHECK(strstr(given.text, "metadata:") != NULL);
  CHECK(given.used > 0 && given.text[given.used - 1] == '\n');
  mi_register_output(&on_output, &registered);
  size_t before = registered.used;
  mi_stats_print_out(NULL, NULL);
  CHECK_GE(registered.used, before + 20);
  CHECK(strstr(registered.text, "metadata:") != NULL);
  size_t after = registered.used;
  mi_register_output(NULL, NULL);
  static sink_t again;
  mi_stats_print_out(&on_output, &again);
  CHECK_GE(again.used, 20);
  CHECK_EQ(registered.used, after);
}

static void deferred_free_is_called_by_a_collect_that_is_the_first_call(void) {
  calls_t calls = {0};
  mi_register_deferred_free(&on_deferred_free, &calls);
  mi_collect(true);
  CHECK_GE(calls.forced, 1);
  mi_register_deferred_free(NULL, NULL);
}

/* ---- the heartbeat ------------------------------------------------------------------ */

#define BEAT_FIRST 262144 /* "262,144 until a thread first notices it" */

#define BEAT_LATER 8192

typedef struct beats_s {
  unsigned long long last;
  size_t calls;
  size_t backwards;
  size_t since;    /* allocations since the last call */
  size_t longest;  /* the most allocations between two calls */
  size_t to_first; /* before the first call */
} beats_t;

static beats_t beats;

static void on_beat(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  CHECK_SAME(arg, &beats);
  if (beats.calls > 0 && heartbeat <= beats.last) beats.backwards++;
  if (beats.calls == 0) {
    beats.to_first = beats.since;
  } else if (beats.since > beats.longest) {
    beats.longest = beats.since;
  }
  beats.last = heartbeat;
  beats.calls++;
  beats.since = 0;
}

/* The bound is for each heap and block size in use. */
static void beats_check(const char* what, size_t heaps) {
  bool ok = CHECK_GE(beats.calls, 3);
  ok = CHECK_EQ(beats.backwards, 0) && ok;
  ok = CHECK_LE(beats.to_first, BEAT_FIRST + 64) && ok;
  ok = CHECK_LE(beats.longest, BEAT_LATER * heaps + 64) && ok;
  ok = CHECK_LE(beats.since, BEAT_LATER * heaps + 64) && ok;
  check_note("%s: %zu calls, first after %zu, then at most %zu apart\n", what, beats.calls,
             beats.to_first, beats.longest);
  if (!ok) check_note("^ wrong\n");
}

typedef void beat_work_fun(size_t step);

static mi_heap_t* beat_heaps[512];

static void* beat_blocks[512];

static void work_one_block(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[0], 64)));
}

static void work_one_large_block(size_t step) {
  if (step % 8 != 0) return; /* they take longer */
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[0], 300000)));
}

static void work_aligned_block(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_heap_malloc_aligned_at(beat_heaps[0], 100, 64, 8)));
}

static void work_zeroed_block(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_heap_calloc(beat_heaps[0], 1, 2000)));
}

static void work_many_sizes(size_t step) {
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[0], 16 + step % 100 * 16)));
}

static void work_ten_blocks(size_t step) {
  beats.since++;
  mi_free(beat_blocks[step % 10]);
  beat_blocks[step % 10] = mi_heap_malloc(beat_heaps[0], 40);
}

static void work_two_heaps(size_t step) {
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[step % 2], 64)));
}

static void work_heap_and_backing(size_t step) {
  beats.since++;
  mi_free(opaque(step % 2 == 0 ? mi_heap_malloc(beat_heaps[0], 64) : mi_malloc(64)));
}

static void work_default_heap(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_malloc(64)));
}

static void work_heap_after_heap(size_t step) { /* each for a good while */
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[step / 4000 % 512], 64)));
}

static void work_many_heaps(size_t step) {
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[step % 512], 64)));
}

static void work_short_lived_heaps(size_t step) {
  static mi_heap_t* heap;
  if (step % 1000 == 0 || heap == NULL) {
    mi_heap_destroy(heap);
    heap = heap_make();
  }
  beats.since++;
  CHECK_NOT_NULL(mi_heap_malloc(heap, 64));
}

static void work_realloc(size_t step) {
  beats.since++;
  beat_blocks[0] = mi_heap_realloc(beat_heaps[0], beat_blocks[0], step % 2 == 0 ? 40 : 400);
}

static const struct {
  const char* name;
  beat_work_fun* work;
  size_t steps;
} beat_works[] = {
    {"one block again and again", &work_one_block, 400000},
    {"one large block", &work_one_large_block, 1200000},
    {"one aligned block", &work_aligned_block, 400000},
    {"one zeroed block", &work_zeroed_block, 400000},
    {"many sizes in turn", &work_many_sizes, 400000},
    {"ten blocks", &work_ten_blocks, 400000},
    {"two heaps in turn", &work_two_heaps, 400000},
    {"a heap and the backing heap", &work_heap_and_backing, 400000},
    {"the default heap", &work_default_heap, 400000},
    {"one heap after the other", &work_heap_after_heap, 400000},
    {"512 heaps in turn", &work_many_heaps, 2000000},
    {"short-lived heaps", &work_short_lived_heaps, 400000},
    {"resizing", &work_realloc, 400000},
};

static void beat_run(size_t which) {
  for (size_t i = 0; i < COUNT_OF(beat_heaps); i++) beat_heaps[i] = heap_make();
  if (beat_works[which].work == &work_default_heap) mi_heap_set_default(beat_heaps[0]);
  mi_register_deferred_free(&on_beat, &beats);
  for (size_t step = 0; step < beat_works[which].steps; step++) beat_works[which].work(step);
  /* In 512 heaps, a first list is 4 KiB: 64 blocks. */
  beats_check(beat_works[which].name, beat_works[which].work == &work_many_heaps ? 4 : 1);
  /* Grows strictly, for every cause of a call. */
  for (int i = 0; i < 50; i++) {
    mi_heap_collect(beat_heaps[i % 3], i % 2 == 0);
    mi_collect(false);
    mi_heap_destroy(beat_heaps[i + 100]);
  }
  CHECK_EQ(beats.backwards, 0);
  mi_register_deferred_free(NULL, NULL);
}

static void deferred_free_is_called_whatever_a_program_reuses(void) {
  for (size_t i = 0; i < COUNT_OF(beat_works); i++) {
    char number[16];
    snprintf(number, sizeof number, "%zu", i);
    const char* args[] = {"beat", number, NULL};
    check_wait_ok(check_start_self(args, -1, -1), beat_works[i].name);
  }
}

/* The callback frees blocks of any heap that the program has put aside, and creates and removes
 * heaps. */
typedef struct aside_s {
  struct aside_s* next;
} aside_t;

static aside_t* aside;

static size_t aside_count;

static mi_heap_t* aside_heap;

static void on_aside(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  (void)heartbeat;
  (void)arg;
  while (aside != NULL) {
    aside_t* next = aside->next;
    mi_free(aside);
    aside_count--;
    aside = next;
  }
  mi_heap_t* heap = heap_make();
  CHECK_NOT_NULL(mi_heap_malloc(heap, 1000));
  void* p = mi_heap_malloc(aside_heap, 200);
  CHECK_NOT_NULL(p);
  mi_heap_destroy(heap);
  mi_heap_collect(aside_heap, false);
  mi_free(p);
}

static void callback_may_use_all_heaps(void) {
  aside_heap = heap_make();
  mi_heap_t* other = heap_make();
  mi_register_deferred_free(&on_aside, NULL);
  for (size_t i = 0; i < 500000; i++) {
    aside_t* a = (aside_t*)mi_heap_malloc(i % 3 == 0   ? aside_heap
                                          : i % 3 == 1 ? other
                                                       : NULL,
                                          16 + i % 50 * 16);
    REQUIRE(a != NULL);
    a->next = aside;
    aside = a;
    aside_count++;
    REQUIRE(aside_count < 200000);
  }
  mi_heap_collect(aside_heap, true);
  CHECK_EQ(aside_count, 0);
  mi_register_deferred_free(NULL, NULL);
  CHECK_EQ(live_blocks(aside_heap), 0);
  CHECK_EQ(live_blocks(other), 0);
  mi_heap_destroy(aside_heap);
  mi_heap_delete(other);
}

static const check_case_t cases[] = {
    CASE(deferred_free_is_called_by_a_collect_that_is_the_first_call),
    CASE(deferred_free_is_called_on_collect_with_its_force),
    CASE(deferred_free_is_called_while_a_program_only_allocates),
    CASE(deferred_free_is_called_while_a_program_allocates_and_frees_one_block),
    CASE(deferred_free_is_called_whatever_a_program_reuses),
    CASE(callback_may_use_all_heaps),
    CASE(statistics_go_to_the_passed_or_the_registered_function),
};

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "beat") == 0) {
    beat_run((size_t)atoi(argv[2]));
    return check_end();
  }
  return CHECK_MAIN(argc, argv, cases);
}
