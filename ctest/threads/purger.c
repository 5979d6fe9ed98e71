/* purger.c - memory goes back without any call while the process has several threads, and the life
 * of the thread that does it.
 */
#include "probe.h"
#include "helpers.h"
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mimalloc.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

/* ---- the threads of the process ---- */

static bool task_file(int task, const char* file, char* text, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/%s", task, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
  if (fd >= 0) close(fd);
  text[got < 0 ? 0 : got] = 0;
  return got > 0;
}

/* The thread sanitizer has a thread of its own, which comes and goes. */
#define CHECK_TASKS(count, expected)                                                               \
  do {                                                                                             \
    if (!UNDER_THREAD_SANITIZER) CHECK_EQ(count, expected);                                        \
  } while (0)

/* The id of the purger, 0 if there is none; `*tasks` becomes the number of threads. */
static int purger_task(size_t* tasks) {
  DIR* directory = opendir("/proc/self/task");
  REQUIRE(directory != NULL);
  int found = 0;
  *tasks = 0;
  for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    char name[32];
    int task = atoi(entry->d_name);
    if (task == 0 || !task_file(task, "comm", name, sizeof name)) continue;
    ++*tasks;
    if (strcmp(name, "mi-purger\n") == 0) found = task;
  }
  closedir(directory);
  return found;
}
static int purger_id(void) {
  size_t tasks;
  return purger_task(&tasks);
}
static int purger_wait(void) { /* it names itself a moment after its start */
  int task = 0;
  for (int i = 0; i < 1000 && (task = purger_id()) == 0; i++) sleep_ms(1);
  return task;
}

/* ---- blocks ---- */

static const size_t sizes[] = {64, 512, 4096, 100000};

static void** chain_fill(size_t bytes) {
  void** last = NULL;
  for (size_t i = 0, size; bytes > 0; i++, bytes -= size < bytes ? size : bytes) {
    size = sizes[i % 1000 == 0 ? 3 : i % 3];
    void** p = (void**)mi_malloc(size);
    REQUIRE(p != NULL);
    memset((void*)p, 1, size);
    *p = (void*)last;
    last = p;
  }
  return last;
}
static void chain_free(void** p) {
  for (void** next; p != NULL; p = next) {
    next = (void**)*p;
    mi_free((void*)p);
  }
}

/* Threads that fill `bytes` each, free if `frees`, and sleep until they may end. */
enum { SLEEPERS_MAX = 8 };
static struct {
  pthread_t thread[SLEEPERS_MAX];
  void** chain[SLEEPERS_MAX];
  size_t count, bytes;
  bool frees;
  pthread_barrier_t step;
} sleepers;

static void* sleeper_run(void* arg) {
  void*** chain = (void***)arg;
  *chain = chain_fill(sleepers.bytes);
  pthread_barrier_wait(&sleepers.step);
  if (sleepers.frees) chain_free(*chain);
  pthread_barrier_wait(&sleepers.step);
  pthread_barrier_wait(&sleepers.step);
  return NULL;
}
static void sleepers_start(size_t count, size_t bytes, bool frees) {
  sleepers.count = count, sleepers.bytes = bytes, sleepers.frees = frees;
  pthread_barrier_init(&sleepers.step, NULL, (unsigned)count + 1);
  for (size_t i = 0; i < count; i++)
    sleepers.thread[i] = thread_start(&sleeper_run, (void*)&sleepers.chain[i]);
  pthread_barrier_wait(&sleepers.step);
}
static void sleepers_go_on(void) { pthread_barrier_wait(&sleepers.step); }
static void sleepers_end(void) {
  pthread_barrier_wait(&sleepers.step);
  for (size_t i = 0; i < sleepers.count; i++) thread_join(sleepers.thread[i]);
}

/* ---- silence ---- */

/* Level 4 keeps tables of closed slices and blocks, and blocks in quarantine. */
#define SILENCE_MAX ((MI_TEST_SECURE >= 4 ? 48 : 16) * MIB)

/* Waits for a second at most. */
static size_t rss_after_silence(size_t enough) {
  for (int i = 0; i < 20 && rss_bytes() > enough; i++) sleep_ms(50);
  return rss_bytes();
}

static void threads_that_have_freed_all_keep_little(void) {
  size_t before = rss_bytes();
  sleepers_start(4, 75 * MIB, true);
  size_t full = rss_bytes();
  sleepers_go_on();
  size_t after = rss_after_silence(before + SILENCE_MAX);
  check_note("resident: before %zu, full %zu, silent %zu MiB\n", before / MIB, full / MIB,
             after / MIB);
  if (RSS_IS_MEANINGFUL) CHECK_GE(full, before + 290 * MIB);
  CHECK_LE(after, before + SILENCE_MAX);
  sleepers_end();
}

static void* free_chain(void* arg) {
  chain_free((void**)arg);
  return NULL;
}
static void what_others_free_of_a_sleeper_goes_back(void) {
  size_t before = rss_bytes();
  sleepers_start(1, 200 * MIB, false);
  size_t full = rss_bytes();
  /* Four threads, each with a part of the chain. */
  pthread_t thread[4];
  void** part[4] = {NULL};
  size_t n = 0;
  for (void **p = sleepers.chain[0], **next; p != NULL; p = next, n++) {
    next = (void**)*p;
    *p = (void*)part[n / 64 % 4];
    part[n / 64 % 4] = p;
  }
  for (size_t i = 0; i < 4; i++) thread[i] = thread_start(&free_chain, (void*)part[i]);
  for (size_t i = 0; i < 4; i++) thread_join(thread[i]);
  size_t after = rss_after_silence(before + SILENCE_MAX);
  check_note("resident: before %zu, full %zu, silent %zu MiB\n", before / MIB, full / MIB,
             after / MIB);
  if (RSS_IS_MEANINGFUL) CHECK_GE(full, before + 190 * MIB);
  CHECK_LE(after, before + SILENCE_MAX);
  sleepers_go_on();
  sleepers_end();
}

/* ---- its life ---- */

static void one_thread_never_has_one(void) {
  size_t tasks;
  for (int i = 0; i < 3; i++) {
    chain_free(chain_fill(64 * MIB));
    CHECK_EQ(purger_task(&tasks), 0);
    CHECK_TASKS(tasks, 1);
  }
}

static void small_programs_have_none(void) {
  sleepers_start(2, MIB, true);
  sleep_ms(20);
  CHECK_EQ(purger_id(), 0);
  sleepers_go_on();
  sleepers_end();
}

static void helper_option(const char* argument) {
  size_t tasks;
  sleepers_start(2, 32 * MIB, true);
  bool wanted = strcmp(argument, "0") != 0;
  CHECK_EQ(wanted ? purger_wait() != 0 : purger_id() != 0, wanted);
  sleepers_go_on();
  CHECK_EQ(purger_task(&tasks) != 0, wanted);
  CHECK_TASKS(tasks, wanted ? 4 : 3);
  sleepers_end();
}
static void the_option_decides(void) {
  static const char* const values[] = {"0", "1"};
  for (size_t i = 0; i < 2; i++) {
    setenv("MIMALLOC_PURGER", values[i], 1);
    const char* args[] = {"helper_option", values[i], NULL};
    check_wait_ok(check_start_self(args, -1, -1), values[i]);
  }
}

/* After the join the process has one thread, so the kernel allows what it allows such a process
 * only. */
static void it_ends_with_the_last_other_thread(void) {
  for (int i = 0; i < 20; i++) {
    sleepers_start(1 + (size_t)i % 3, 24 * MIB, true);
    CHECK_NE(purger_wait(), 0);
    sleepers_go_on();
    sleepers_end();
    CHECK_EQ(purger_id(), 0);
  }
  sleep_ms(20); /* the program's own threads may take a moment after the join */
  CHECK(UNDER_THREAD_SANITIZER || unshare(CLONE_NEWUSER) == 0 || errno != EINVAL);
}

static int handler_task; /* of the last signal */
static void on_signal(int signal) {
  (void)signal;
  __atomic_store_n(&handler_task, (int)syscall(SYS_gettid), __ATOMIC_RELAXED);
}
static void it_takes_no_signals(void) {
  char text[4096];
  signal(SIGUSR1, &on_signal);
  sleepers_start(1, 32 * MIB, true);
  int task = purger_wait();
  REQUIRE(task != 0 && task_file(task, "status", text, sizeof text));
  char* line = strstr(text, "SigBlk:");
  REQUIRE(line != NULL);
  /* All but SIGKILL and SIGSTOP, the two of the C library itself, and SIGSYS. */
  uint64_t blocked = strtoull(line + 7, NULL, 16);
  uint64_t free_to_come = (UINT64_C(1) << (SIGKILL - 1)) | (UINT64_C(1) << (SIGSTOP - 1)) |
                          (UINT64_C(3) << 31) | (UINT64_C(1) << (SIGSYS - 1));
  CHECK_EQ(~blocked & ~free_to_come, 0);
  for (int i = 0; i < 100; i++) REQUIRE(kill(getpid(), SIGUSR1) == 0);
  CHECK_NE(handler_task, 0);
  CHECK_NE(handler_task, task);
  sleepers_go_on();
  sleepers_end();
}

static void* start_with_odd_settings(void* arg) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  (void)sched_setaffinity(0, sizeof one, &one);
  (void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
  return sleeper_run(arg);
}
static void it_inherits_no_settings(void) {
  cpu_set_t mine, its;
  REQUIRE(sched_getaffinity(0, sizeof mine, &mine) == 0);
  sleepers.count = 1, sleepers.bytes = 32 * MIB, sleepers.frees = true;
  pthread_barrier_init(&sleepers.step, NULL, 2);
  sleepers.thread[0] = thread_start(&start_with_odd_settings, (void*)&sleepers.chain[0]);
  pthread_barrier_wait(&sleepers.step);
  int task = purger_wait();
  REQUIRE(task != 0 && sched_getaffinity(task, sizeof its, &its) == 0);
  CHECK(CPU_EQUAL(&mine, &its));
  CHECK_EQ(sched_getscheduler(task), SCHED_OTHER);
  sleepers_go_on();
  sleepers_end();
}

/* A filter that answers EAGAIN to whatever makes a thread. */
static void refuse_threads(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
  };
  struct sock_fprog program = {COUNT_OF(code), code};
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
}
static void a_refused_thread_changes_nothing(void) {
  if (UNDER_ADDRESS_SANITIZER) {
    check_note("skipped: the search for leaks needs a thread\n");
    return;
  }
  size_t before = rss_bytes(), tasks;
  sleepers_start(1, MIB, true); /* too little for a purger */
  refuse_threads();
  errno = 4711;
  void** chain = chain_fill(100 * MIB);
  CHECK_EQ(errno, 4711);
  CHECK_EQ(purger_task(&tasks), 0);
  CHECK_TASKS(tasks, 2);
  chain_free(chain);
  CHECK_LE(rss_bytes(), before + 100 * MIB / 8 + 12 * MIB); /* the frees themselves purge */
  sleepers_go_on();
  sleepers_end();
}

/* Stopped by a debugger, while all others go on. */
static void a_stopped_purger_stops_nobody(void) {
  size_t before = rss_bytes();
  sleepers_start(1, 100 * MIB, true);
  int task = purger_wait(), ends[2];
  REQUIRE(task != 0 && pipe(ends) == 0);
  (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  pid_t tracer = fork();
  REQUIRE(tracer >= 0);
  if (tracer == 0) {
    bool stopped = ptrace(PTRACE_SEIZE, task, NULL, NULL) == 0 &&
                   ptrace(PTRACE_INTERRUPT, task, NULL, NULL) == 0 &&
                   waitpid(task, NULL, __WALL) == task;
    (void)!write(ends[1], stopped ? "1" : "0", 1);
    for (;;) pause();
  }
  char answer = '0';
  REQUIRE(read(ends[0], &answer, 1) == 1);
  if (answer == '1') {
    sleepers_go_on();
    double end = now_seconds() + 10;
    while (now_seconds() < end && rss_bytes() > before + SILENCE_MAX)
      for (int i = 0; i < 1000; i++) mi_free(mi_malloc((size_t)(i % 50) * 1000));
    CHECK_LE(rss_bytes(), before + SILENCE_MAX); /* the calls of the others purge */
    double start = now_seconds();
    sleepers_end();
    CHECK_LE_DOUBLE(now_seconds() - start, 0.5); /* a tenth of a second, and a slow machine */
    chain_free(chain_fill(32 * MIB));
  } else {
    check_note("skipped: may not trace\n");
    sleepers_go_on();
    sleepers_end();
  }
  kill(tracer, SIGKILL);
  REQUIRE(waitpid(tracer, NULL, 0) == tracer);
}

static void a_child_starts_its_own(void) {
  sleepers_start(1, 64 * MIB, true);
  CHECK_NE(purger_wait(), 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    size_t tasks;
    chain_free(chain_fill(64 * MIB));
    CHECK_EQ(purger_task(&tasks), 0);
    CHECK_TASKS(tasks, 1);
    sleepers_start(1, 64 * MIB, true);
    CHECK_NE(purger_wait(), 0);
    sleepers_go_on();
    sleepers_end();
    CHECK_EQ(purger_id(), 0);
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
  sleepers_go_on();
  sleepers_end();
}

/* Without handlers the child has a copy of the state: with a purger in the parent, and without. */
static void check_child_without_handlers(size_t bytes) {
  sleepers_start(1, bytes, true);
  CHECK_EQ(bytes > 16 * MIB ? purger_wait() != 0 : purger_id() != 0, bytes > 16 * MIB);
  pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  REQUIRE(pid >= 0);
  if (pid == 0) {
    chain_free(chain_fill(64 * MIB));
    DIR* directory = opendir("/proc/self/task");
    int tasks = 0;
    while (directory != NULL && readdir(directory) != NULL) tasks++;
    /* One, and the two names of folders. */
    _exit(tasks == 3 || UNDER_THREAD_SANITIZER ? check_end() : 1);
  }
  check_wait_ok(pid, "child");
  sleepers_go_on();
  sleepers_end();
}
static void a_child_without_handlers_starts_none(void) {
  check_child_without_handlers(MIB);
  check_child_without_handlers(64 * MIB);
}

static void helper_exit(const char* argument) {
  mi_option_set(mi_option_purge_delay, 1);
  mi_option_set(mi_option_arena_purge_mult, 1);
  sleepers_start(2, 32 * MIB, true);
  sleepers_go_on();
  sleep_ms((unsigned)atoi(argument));
  exit(check_end());
}
static void exit_works_while_it_purges(void) {
  static const char* const times[] = {"0", "1", "2", "3", "4", "5", "6"};
  for (size_t i = 0; i < 2 * COUNT_OF(times); i++) {
    const char* args[] = {"helper_exit", times[i % COUNT_OF(times)], NULL};
    check_wait_ok(check_start_self(args, -1, -1), "exit");
  }
}

/* ---- what it costs ---- */

static uint64_t cpu_ns(int task) {
  char text[128];
  return task_file(task, "schedstat", text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

/* Grows and frees 64 MiB again and again. */
static void a_saw_tooth_costs_two_percent(void) {
  sleepers_start(1, 32 * MIB, true);
  int task = purger_wait();
  REQUIRE(task != 0);
  double start = now_seconds();
  while (now_seconds() < start + 2) {
    void** chain = chain_fill(64 * MIB);
    chain_free(chain);
    sleep_ms(250); /* longer than the delay, so all is purged until the library has learnt */
  }
  double share = (double)cpu_ns(task) / 1e9 / (now_seconds() - start);
  check_note("share of a processor: %.3f\n", share);
  CHECK_LE_DOUBLE(share, 0.02);
  sleepers_go_on();
  sleepers_end();
}

static const check_case_t cases[] = {
    CASE(threads_that_have_freed_all_keep_little),
    CASE(what_others_free_of_a_sleeper_goes_back),
    CASE(one_thread_never_has_one),
    CASE(small_programs_have_none),
    CASE(the_option_decides),
    CASE(it_ends_with_the_last_other_thread),
    CASE(it_takes_no_signals),
    CASE(it_inherits_no_settings),
    CASE(a_refused_thread_changes_nothing),
    CASE(a_stopped_purger_stops_nobody),
    CASE(a_child_starts_its_own),
    CASE(a_child_without_handlers_starts_none),
    CASE(exit_works_while_it_purges),
    CASE(a_saw_tooth_costs_two_percent),
};

static const helper_t helpers[] = {
    {"helper_option", &helper_option},
    {"helper_exit", &helper_exit},
};

int main(int argc, char** argv) {
  mi_thread_init(); /* threads with a heap count, also where malloc is not ours */
  if (IS_HELPER(argc, argv)) return HELPER_RUN(helpers, argv);
  return CHECK_MAIN(argc, argv, cases);
}
