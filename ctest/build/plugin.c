/* plugin.c - a plug-in with the allocator inside is unloaded: threads that have used it go on and
 * end, the process forks and exits, and only blocks that are in use stay. Environment: TEST_PLUGIN,
 * the path of the plug-in.
 */
#include "probe.h"
#include <dlfcn.h>
#include <sys/wait.h>

static const char* path;

typedef struct plugin_s {
  void* handle;
  void (*work)(void);
  void* (*allocate)(size_t);
  void (*release)(void*);
} plugin_t;

static void* symbol(void* handle, const char* name) {
  void* found = dlsym(handle, name);
  REQUIRE(found != NULL);
  return found;
}

static plugin_t load(void) {
  plugin_t p;
  p.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (p.handle == NULL) check_fail("%s\n", dlerror());
  REQUIRE(p.handle != NULL);
  *(void**)&p.work = symbol(p.handle, "plugin_work");
  *(void**)&p.allocate = symbol(p.handle, "plugin_allocate");
  *(void**)&p.release = symbol(p.handle, "plugin_free");
  return p;
}

static void unload(plugin_t* p) {
  REQUIRE(dlclose(p->handle) == 0);
  CHECK_NULL(dlopen(path, RTLD_NOW | RTLD_NOLOAD)); /* else nothing was tested */
}

static size_t mappings(void) {
  static char text[256 * KIB];
  size_t count = 0, used = read_file("/proc/self/maps", text, sizeof text);
  REQUIRE(used + 1 < sizeof text);
  for (size_t i = 0; i < used; i++) count += text[i] == '\n';
  return count;
}

static void* use_once(void* arg) {
  plugin_t p = load();
  p.work();
  unload(&p);
  return arg;
}

static void a_thread_may_end_after_it_has_unloaded_the_plugin(void) {
  for (int i = 0; i < 20; i++) thread_join(thread_start(&use_once, NULL));
}

/* ---- threads that go on ------------------------------------------------------------ */

#define THREADS 4
static plugin_t shared;
static pthread_barrier_t used, unloaded;

static void* use_and_go_on(void* arg) {
  shared.work();
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&unloaded);
  return arg;
}

static void threads_that_have_used_the_plugin_end_after_it(void) {
  pthread_barrier_init(&used, NULL, THREADS + 1);
  pthread_barrier_init(&unloaded, NULL, THREADS + 1);
  for (int round = 0; round < 20; round++) {
    pthread_t threads[THREADS];
    shared = load();
    for (size_t i = 0; i < THREADS; i++) threads[i] = thread_start(&use_and_go_on, NULL);
    pthread_barrier_wait(&used);
    unload(&shared);
    pthread_barrier_wait(&unloaded);
    for (size_t i = 0; i < THREADS; i++) thread_join(threads[i]);
  }
}

/* ---- what is left ------------------------------------------------------------------ */

static void* use_a_little(void* arg) {
  plugin_t p = load();
  p.release(p.allocate(100));
  REQUIRE(dlclose(p.handle) == 0);
  return arg;
}

/* Once, each round left 650 KiB and eight mappings. */
static void ten_thousand_loads_leave_nothing_behind(void) {
  size_t rounds = check_scaled(10000), maps = 0, rss = 0;
  for (size_t i = 0; i < rounds; i++) {
    void* (*use)(void*) = i % 10 == 0 ? &use_once : &use_a_little;
    if (i % 4 == 0)
      thread_join(thread_start(use, NULL));
    else
      use(NULL);
    if (i == 100) maps = mappings(), rss = rss_bytes();
  }
  CHECK_LE(mappings(), maps + 2); /* the C library caches stacks of threads */
  CHECK_LE(rss_bytes(), rss + 512 * KIB);
  pthread_key_t key; /* of 1,024 there are */
  CHECK_EQ(pthread_key_create(&key, NULL), 0);
}

/* Of the process, touched or not. */
static size_t address_space(void) {
  char text[256];
  read_file("/proc/self/statm", text, sizeof text);
  return strtoul(text, NULL, 10) * OS_PAGE;
}

/* Also where they have joined into one mapping. */
static void unloading_gives_every_os_page_back(void) {
  enum { WARM = 20, ROUNDS = 200 };
  size_t before = 0;
  for (int i = 0; i < WARM + ROUNDS; i++) {
    if (i == WARM) before = address_space();
    use_a_little(NULL);
  }
  size_t after = address_space();
  check_note("OS pages left by %d loads: %td\n", ROUNDS,
             (ptrdiff_t)(after - before) / (int)OS_PAGE);
  CHECK_LE(after, before + ROUNDS / 2 * OS_PAGE);
}

/* Of the sizes a small one, a medium one, one page of its own, and directly from the system. */
static void blocks_in_use_stay_valid(void) {
  static const size_t sizes[] = {100, 5000, 20000, 300000, 600 * MIB};
  enum { COUNT = sizeof sizes / sizeof sizes[0] };
  plugin_t p = load();
  p.work();
  char* blocks[COUNT];
  void* others[2000];
  size_t before = rss_bytes();
  for (size_t i = 0; i < COUNT_OF(others); i++) {
    others[i] = p.allocate(10000);
    memset(others[i], 1, 10000);
  }
  for (size_t i = 0; i < COUNT; i++) {
    blocks[i] = (char*)p.allocate(sizes[i]);
    REQUIRE(blocks[i] != NULL);
    pattern_fill(blocks[i], sizes[i] < MIB ? sizes[i] : MIB, (unsigned)i);
  }
  for (size_t i = 0; i < COUNT_OF(others); i++) p.release(others[i]);
  unload(&p);
  for (size_t i = 0; i < COUNT; i++)
    CHECK(pattern_holds(blocks[i], sizes[i] < MIB ? sizes[i] : MIB, (unsigned)i));
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

/* ---- the thread that the plug-in starts ----------------------------------------------------- */

static size_t threads_now(void) {
  char text[4096];
  read_file("/proc/self/status", text, sizeof text);
  char* line = strstr(text, "Threads:");
  REQUIRE(line != NULL);
  return strtoul(line + 8, NULL, 10);
}

static void* use_much_and_go_on(void* arg) {
  void* blocks[400];
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    REQUIRE((blocks[i] = shared.allocate(100000)) != NULL);
    memset(blocks[i], 1, 100000);
  }
  for (size_t i = 0; i < COUNT_OF(blocks); i++) shared.release(blocks[i]);
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&unloaded);
  return arg;
}

static void the_purger_ends_before_the_plugin(void) {
  pthread_barrier_init(&used, NULL, 2);
  pthread_barrier_init(&unloaded, NULL, 2);
  for (int round = 0; round < 20; round++) {
    shared = load();
    shared.work(); /* in this thread too */
    pthread_t thread = thread_start(&use_much_and_go_on, NULL);
    pthread_barrier_wait(&used);
    CHECK_EQ(threads_now(), 3);
    if (round % 2 != 0) sleep_ms(20); /* it sleeps, or has just begun */
    unload(&shared);
    CHECK_EQ(threads_now(), 2);
    pthread_barrier_wait(&unloaded);
    thread_join(thread);
  }
}

/* ---- the process goes on and ends --------------------------------------------------- */

static void the_process_forks_after_it(void) {
  for (int i = 0; i < 10; i++) {
    thread_join(thread_start(&use_once, NULL));
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      use_once(NULL);
      _exit(check_end());
    }
    check_wait_ok(pid, "child");
  }
}

static void* wait_for_ever(void* arg) {
  shared.work();
  pthread_barrier_wait(&used);
  for (;;) pause();
  return arg;
}

static void unload_at_exit(void) { unload(&shared); }

/* Exits with the plug-in in use, or unloads it while it exits. */
static void exit_with_the_plugin(bool unloads) {
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    pthread_barrier_init(&used, NULL, 2);
    if (unloads) atexit(&unload_at_exit); /* runs after the plug-in's own functions of atexit */
    shared = load();
    shared.work();
    (void)thread_start(&wait_for_ever, NULL);
    pthread_barrier_wait(&used);
    exit(check_end());
  }
  check_wait_ok(pid, unloads ? "unloads at exit" : "exits");
}

static void the_process_ends_with_the_plugin_in_use(void) {
  for (int i = 0; i < 10; i++) {
    exit_with_the_plugin(false);
    exit_with_the_plugin(true);
  }
}

static const check_case_t cases[] = {
    CASE(a_thread_may_end_after_it_has_unloaded_the_plugin),
    CASE(threads_that_have_used_the_plugin_end_after_it),
    CASE(ten_thousand_loads_leave_nothing_behind),
    CASE(unloading_gives_every_os_page_back),
    CASE(blocks_in_use_stay_valid),
    CASE(the_purger_ends_before_the_plugin),
    CASE(the_process_forks_after_it),
    CASE(the_process_ends_with_the_plugin_in_use),
};

int main(int argc, char** argv) {
  path = getenv("TEST_PLUGIN");
  if (path == NULL) {
    check_fail("TEST_PLUGIN must name the plug-in\n");
    return 1;
  }
  return CHECK_MAIN(argc, argv, cases);
}
