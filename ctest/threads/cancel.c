/* cancel.c - no call of the library is a cancellation point: a thread with a pending cancellation
 * returns from it, and leaves no lock of the library taken.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

#define FOREIGN ((void*)0x12345670)

static int none_fd; /* /dev/null */

/* Each of these is a cancellation point by itself. */
static void point(void) { CHECK_EQ(write(none_fd, "x", 1), 1); }

static void on_output(const char* text, void* arg) {
  (void)text, (void)arg;
  point();
}
static void on_error(int code, void* arg) {
  (void)code, (void)arg;
  point();
}
static void on_deferred(bool force, unsigned long long heartbeat, void* arg) {
  (void)force, (void)heartbeat, (void)arg;
  point();
}
static bool on_visit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  (void)heap, (void)area, (void)block, (void)size, (void)arg;
  point();
  return true;
}

#if MI_TEST_SECURE == 0
static void free_foreign(void) { mi_free(FOREIGN); }
#endif
static void print_figures(void) { mi_stats_print(NULL); }
static void print_options(void) { mi_options_print(); }
static void print_arenas(void) { mi_arenas_print(); }
static void ask_process(void) {
  size_t rss;
  mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
}
static void set_nonsense(void) { mi_option_set(mi_option_purge_delay, -77777); }
static void ask_path(void) { mi_free(mi_realpath("/dev/null", NULL)); }
static void visit_own(void) { mi_heap_visit_blocks(mi_heap_get_default(), true, &on_visit, NULL); }
static void visit_abandoned(void) { mi_abandoned_visit_blocks(NULL, -1, true, &on_visit, NULL); }
static void collect(void) { mi_collect(true); }
static void allocate_many(void) {
  static __thread void* blocks[5000];
  for (size_t i = 0; i < COUNT_OF(blocks); i++) blocks[i] = mi_malloc(1 + i * 7);
  for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
}
static void run_out(void) { CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX / 2))); }

typedef struct call_s {
  void (*run)(void);
  bool came_back;
} call_t;

static void* run_cancelled(void* arg) {
  call_t* call = (call_t*)arg;
  mi_free(mi_malloc(100));
  pthread_cancel(pthread_self()); /* takes effect at the first cancellation point */
  call->run();
  call->came_back = true;
  pthread_testcancel();
  return arg;
}

static void calls_come_back(void) {
  static void (*const calls[])(void) = {
    &print_figures,
    &print_options,
    &print_arenas,
    &ask_process,
    &set_nonsense,
    &ask_path,
    &visit_own,
    &visit_abandoned,
    &collect,
    &allocate_many,
    &run_out,
#if MI_TEST_SECURE == 0
    &free_foreign, /* in secure builds it ends the program */
#endif
  };
  for (size_t i = 0; i < COUNT_OF(calls); i++) {
    /* More threads than may print at the same time. */
    for (int k = 0; k < 12; k++) {
      call_t call = {calls[i], false};
      void* result = NULL;
      pthread_t thread;
      REQUIRE(pthread_create(&thread, NULL, &run_cancelled, &call) == 0);
      pthread_join(thread, &result);
      if (!CHECK(call.came_back)) check_note("call %zu was cancelled inside\n", i);
      CHECK(result == PTHREAD_CANCELED);
    }
  }
}

static void* leave_a_block(void* arg) {
  *(void**)arg = mi_malloc(200);
  return NULL;
}

static void prepare(void) {
  none_fd = open("/dev/null", O_RDWR);
  REQUIRE(none_fd >= 0);
  mi_option_enable(mi_option_show_errors);
  mi_option_set(mi_option_max_errors, -1);
  static void* left; /* something abandoned to visit */
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, &leave_a_block, &left) == 0);
  pthread_join(thread, NULL);
}

/* To standard error, by the library's own way. */
static void messages_are_no_cancellation_points(void) {
  prepare();
  REQUIRE(dup2(none_fd, STDERR_FILENO) >= 0);
  calls_come_back();
}

static void callbacks_are_not_cancelled(void) {
  prepare();
  mi_register_output(&on_output, NULL);
  mi_register_error(&on_error, NULL);
  mi_register_deferred_free(&on_deferred, NULL);
  calls_come_back();
}

/* The helper's threads are cancelled; then it prints, and its output is looked at here. */
static void helper_prints_after_cancelled_threads(void) {
  prepare();
  int err = dup(STDERR_FILENO);
  REQUIRE(err >= 0 && dup2(none_fd, STDERR_FILENO) >= 0);
  calls_come_back();
  REQUIRE(dup2(err, STDERR_FILENO) >= 0);
  mi_stats_print(NULL);
}
static void threads_that_are_cancelled_do_not_silence_the_others(void) {
  const char* args[] = {"helper_prints_after_cancelled_threads", NULL};
  char text[8192];
  int status = check_capture_self(args, true, text, sizeof text);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK_NOT_NULL(strstr(text, "elapsed:"));
}

/* A thread that has switched cancellation off keeps it off. */
static void the_state_of_cancellation_is_kept(void) {
  prepare();
  REQUIRE(dup2(none_fd, STDERR_FILENO) >= 0);
  int state = -1;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  print_figures();
  ask_process();
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
  CHECK_EQ(state, PTHREAD_CANCEL_DISABLE);
  print_figures();
  ask_process();
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
  CHECK_EQ(state, PTHREAD_CANCEL_ENABLE);
}

static const check_case_t cases[] = {
    CASE(messages_are_no_cancellation_points),
    CASE(callbacks_are_not_cancelled),
    CASE(threads_that_are_cancelled_do_not_silence_the_others),
    CASE(the_state_of_cancellation_is_kept),
};
static const check_case_t helpers[] = {CASE(helper_prints_after_cancelled_threads)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
