/* error_reports.c - how failures are reported: return value, code for the registered handler,
 * errno. The codes are those of release builds; debug builds also report errors that a release
 * build answers with NULL only. */
#include "probe.h"
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif
#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)
#define LARGEST_REQUEST ((size_t)65536 * (((size_t)1 << 32) - 2))

typedef struct codes_s {
  int list[64];
  size_t count;
} codes_t;

static void on_error(int code, void* arg) {
  codes_t* codes = (codes_t*)arg;
  if (codes->count < COUNT_OF(codes->list)) codes->list[codes->count] = code;
  codes->count++;
}

static size_t codes_equal_to(const codes_t* codes, int code) {
  size_t equal = 0;
  for (size_t i = 0; i < codes->count && i < COUNT_OF(codes->list); i++) {
    equal += codes->list[i] == code;
  }
  return equal;
}

static int codes_last(const codes_t* codes) {
  if (codes->count == 0 || codes->count > COUNT_OF(codes->list)) return -1;
  return codes->list[codes->count - 1];
}

/* Once or twice EOVERFLOW, then one ENOMEM. */
static void check_oversized(const codes_t* codes, const char* what) {
  bool ok = CHECK_GE(codes_equal_to(codes, EOVERFLOW), 1);
  ok = CHECK_LE(codes_equal_to(codes, EOVERFLOW), 2) && ok;
  ok = CHECK_EQ(codes_equal_to(codes, ENOMEM), 1) && ok;
  ok = CHECK_EQ(codes_last(codes), ENOMEM) && ok;
  if (!ok) check_note("in %s\n", what);
}

static void oversized_request_reports_eoverflow_then_enomem(void) {
  const size_t sizes[] = {SIZE_MAX,      SIZE_MAX - 7,        SIZE_MAX - 4096,
                          TOO_LARGE,     (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX - 4096,
                          (size_t)0 - 8, SIZE_MAX / 2,        LARGEST_REQUEST + 1};
  codes_t codes;
  mi_register_error(&on_error, &codes);
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    size_t size = opaque_size(sizes[i]);
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_malloc(size));
    check_oversized(&codes, "mi_malloc");
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_zalloc(size));
    check_oversized(&codes, "mi_zalloc");
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_calloc(1, size));
    check_oversized(&codes, "mi_calloc of one element");
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_malloc_align8(size));
    check_oversized(&codes, "mi_malloc_align8");
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_zalloc_align8(size));
    check_oversized(&codes, "mi_zalloc_align8");
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_realloc(NULL, size));
    check_oversized(&codes, "mi_realloc of NULL");
    void* p = mi_malloc(50);
    REQUIRE(p != NULL);
    pattern_fill(p, 50, 1);
    memset(&codes, 0, sizeof codes);
    CHECK_NULL(mi_realloc(p, size));
    check_oversized(&codes, "mi_realloc");
    CHECK_NULL(mi_realloc_align8(p, size));
    CHECK_NULL(mi_rezalloc(p, size));
    CHECK_NULL(mi_realloc_aligned(p, size, 64));
    CHECK_NULL(mi_realloc_aligned_at(p, size, 64, 8));
    CHECK_NULL(mi_rezalloc_aligned(p, size, 64));
    CHECK_NULL(mi_rezalloc_aligned_at(p, size, 64, 8));
    CHECK(pattern_holds(p, 50, 1));
    mi_free(p);
    /* Aligned forms may stay silent in release builds. */
    CHECK_NULL(mi_malloc_aligned(size, 64));
    CHECK_NULL(mi_malloc_aligned(size, 64 * MIB));
    CHECK_NULL(mi_malloc_aligned_at(size, 64, 24));
    CHECK_NULL(mi_zalloc_aligned(size, 4096));
    CHECK_NULL(mi_memalign(128, size));
    CHECK_NULL(mi_aligned_alloc(128, size));
    CHECK_NULL(mi_valloc(size));
    CHECK_NULL(mi_pvalloc(size));
    CHECK_NULL(mi_new_nothrow(size));
    CHECK_NULL(mi_new_aligned_nothrow(size, 32));
  }
  mi_register_error(NULL, NULL);
}

/* No 47-bit address space holds 2^47 bytes; it may hold 2^46 bytes. */
static void more_than_there_is_reports_enomem_only(void) {
  codes_t codes = {{0}, 0};
  mi_register_error(&on_error, &codes);
  CHECK_NULL(mi_malloc(opaque_size((size_t)1 << 47)));
  CHECK_EQ(codes_equal_to(&codes, EOVERFLOW), 0);
  CHECK_EQ(codes_equal_to(&codes, ENOMEM), 1);
  CHECK_EQ(codes.count, 1);
  memset(&codes, 0, sizeof codes);
  CHECK_NULL(mi_malloc_aligned(opaque_size((size_t)1 << 47), 4096));
  CHECK_EQ(codes_equal_to(&codes, EOVERFLOW), 0);
  CHECK_GE(codes_equal_to(&codes, ENOMEM), 1);
  for (unsigned bit = 44; bit <= 46; bit++) {
    memset(&codes, 0, sizeof codes);
    char* p = (char*)mi_malloc(opaque_size((size_t)1 << bit));
    if (p == NULL) {
      CHECK_EQ(codes_last(&codes), ENOMEM);
      CHECK_EQ(codes_equal_to(&codes, EOVERFLOW), 0);
    } else {
      CHECK_EQ(codes.count, 0);
      ((volatile char*)p)[0] = 1;
      ((volatile char*)p)[((size_t)1 << bit) - 1] = 1;
      mi_free(p);
    }
  }
  mi_register_error(NULL, NULL);
  void* p = mi_malloc(100);
  CHECK_NOT_NULL(p);
  mi_free(p);
}

static void errno_is_enomem_on_failure_where_the_contract_says_so(void) {
  errno = 0;
  CHECK_NULL(mi_reallocarray(NULL, opaque_size((size_t)1 << 47), 1));
  CHECK_EQ(errno, ENOMEM);
}

/* Failing at once and often is cheap and leaves memory in use alone. */
static void failing_requests_are_answered_at_once(void) {
  void* held = mi_malloc(100000);
  REQUIRE(held != NULL);
  pattern_fill(held, 100000, 4);
  double start = now_seconds();
  for (int i = 0; i < 1000; i++) CHECK_NULL(mi_malloc(opaque_size((size_t)0 - 8)));
  CHECK_LE_DOUBLE(now_seconds() - start, 5.0);
  CHECK(pattern_holds(held, 100000, 4));
  mi_free(held);
}

static void overflow_and_bad_alignment_are_silent_in_release(void) {
  codes_t codes = {{0}, 0};
  mi_register_error(&on_error, &codes);
  size_t half = opaque_size(SIZE_MAX / 2 + 1);
  CHECK_NULL(mi_calloc(half, 2));
  CHECK_NULL(mi_mallocn(2, half));
  CHECK_NULL(mi_reallocn(NULL, 2, half));
  size_t after_products = codes.count;
  CHECK_NULL(mi_malloc_aligned(64, opaque_size(0)));
  CHECK_NULL(mi_malloc_aligned(64, opaque_size(24)));
  mi_register_error(NULL, NULL);
  if (MI_TEST_DEBUG_FULL) {
    CHECK_GE(after_products, 3);
    CHECK_GE(codes.count, after_products + 2);
    CHECK_EQ(codes_equal_to(&codes, EOVERFLOW), codes.count);
  } else {
    CHECK_EQ(codes.count, 0);
  }
}

static void new_nothrow_reports_enomem_and_gives_null(void) {
  codes_t codes = {{0}, 0};
  mi_register_error(&on_error, &codes);
  CHECK_NULL(mi_new_nothrow(opaque_size((size_t)1 << 47)));
  CHECK_GE(codes_equal_to(&codes, ENOMEM), 1);
  CHECK_EQ(codes_last(&codes), ENOMEM);
  memset(&codes, 0, sizeof codes);
  CHECK_NULL(mi_new_aligned_nothrow(opaque_size((size_t)1 << 47), 64));
  CHECK_EQ(codes_last(&codes), ENOMEM);
  mi_register_error(NULL, NULL);
}

static void helper_new_without_cxx_runtime(void) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  void* p = mi_new(opaque_size((size_t)1 << 47));
  check_note("mi_new returned %p\n", p);
}

static void helper_new_aligned_without_cxx_runtime(void) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  void* p = mi_new_aligned(opaque_size((size_t)1 << 47), 64);
  check_note("mi_new_aligned returned %p\n", p);
}

/* Dies by SIGABRT. With MIMALLOC_SHOW_ERRORS=1 the report is printed, with at least the prefix that
 * the interface gives to errors. */
static void new_aborts_a_c_program_when_memory_is_out(void) {
  static const char* const helpers[] = {"helper_new_without_cxx_runtime",
                                        "helper_new_aligned_without_cxx_runtime"};
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  for (size_t i = 0; i < COUNT_OF(helpers); i++) {
    const char* args[] = {helpers[i], NULL};
    char text[4096];
    int status = check_capture_self(args, true, text, sizeof text);
    CHECK(WIFSIGNALED(status));
    if (WIFSIGNALED(status)) CHECK_EQ(WTERMSIG(status), SIGABRT);
    CHECK(strstr(text, "mimalloc: error: ") != NULL);
  }
}

static void handler_gets_its_argument_and_null_restores_the_default(void) {
  codes_t first = {{0}, 0};
  codes_t second = {{0}, 0};
  mi_register_error(&on_error, &first);
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
  CHECK_GE(first.count, 1);
  mi_register_error(&on_error, &second);
  size_t before = first.count;
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
  CHECK_EQ(first.count, before);
  CHECK_GE(second.count, 1);
  mi_register_error(NULL, NULL);
  before = second.count;
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX))); /* the default goes on */
  CHECK_EQ(second.count, before);
}

static void on_error_that_allocates(int code, void* arg) {
  size_t* calls = (size_t*)arg;
  ++*calls;
  (void)code;
  void* p = mi_malloc(1000);
  CHECK_NOT_NULL(p);
  mi_free(p);
}

static void handler_may_allocate(void) {
  size_t calls = 0;
  mi_register_error(&on_error_that_allocates, &calls);
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
  CHECK_NULL(mi_malloc(opaque_size((size_t)1 << 47)));
  mi_register_error(NULL, NULL);
  CHECK_GE(calls, 3);
}

static volatile int callbacks_stop;
static void on_error_of_thread(int code, void* arg) {
  (void)code;
  (void)arg;
}
static void on_deferred_of_thread(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  (void)heartbeat;
  (void)arg;
}
static void on_output_of_thread(const char* message, void* arg) {
  (void)message;
  (void)arg;
}
static void* allocate_until_stopped(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  while (!__atomic_load_n(&callbacks_stop, __ATOMIC_RELAXED)) {
    void* blocks[200];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = mi_malloc(rng_size(&rng, 20000));
    CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
    for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
  }
  return NULL;
}
static void callbacks_may_be_registered_while_others_allocate(void) {
  pthread_t threads[3];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&allocate_until_stopped, (void*)(i + 1));
  }
  double end = now_seconds() + 0.3;
  while (now_seconds() < end) {
    mi_register_error(&on_error_of_thread, NULL);
    mi_register_deferred_free(&on_deferred_of_thread, NULL);
    mi_register_output(&on_output_of_thread, NULL);
    mi_register_error(NULL, NULL);
    mi_register_deferred_free(NULL, NULL);
  }
  __atomic_store_n(&callbacks_stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
}

static size_t printed_bytes;
static void on_print(const char* message, void* arg) {
  (void)arg;
  __atomic_fetch_add(&printed_bytes, strlen(message), __ATOMIC_RELAXED);
}
static void* print_until_stopped(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&callbacks_stop, __ATOMIC_RELAXED)) mi_stats_print_out(&on_print, NULL);
  return NULL;
}
static void statistics_may_be_printed_while_others_allocate(void) {
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] =
        thread_start(i < 2 ? &print_until_stopped : &allocate_until_stopped, (void*)(i + 1));
  }
  sleep_ms(300);
  __atomic_store_n(&callbacks_stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  CHECK_GE(__atomic_load_n(&printed_bytes, __ATOMIC_RELAXED), 100);
}

static const check_case_t cases[] = {
    CASE(oversized_request_reports_eoverflow_then_enomem),
    CASE(more_than_there_is_reports_enomem_only),
    CASE(errno_is_enomem_on_failure_where_the_contract_says_so),
    CASE(failing_requests_are_answered_at_once),
    CASE(overflow_and_bad_alignment_are_silent_in_release),
    CASE(new_nothrow_reports_enomem_and_gives_null),
    CASE(new_aborts_a_c_program_when_memory_is_out),
    CASE(handler_gets_its_argument_and_null_restores_the_default),
    CASE(handler_may_allocate),
    CASE(callbacks_may_be_registered_while_others_allocate),
    CASE(statistics_may_be_printed_while_others_allocate),
};

static const check_case_t helpers[] = {
    CASE(helper_new_without_cxx_runtime),
    CASE(helper_new_aligned_without_cxx_runtime),
};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
