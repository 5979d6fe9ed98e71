/* launch.c - runs one program under one preload and reports what it cost.
 *
 * Usage:  launch LIMIT_SECONDS LIBRARY|- RESULT_FILE OUTPUT_FILE PROGRAM [ARGUMENT...]
 * Result: "wall_ns user_us sys_us peak_kib minor_faults major_faults exit_code signal"
 *
 * Why not from the runner itself: the system counts the peak of a process from its fork on, so
 * that a small program inherits the size of its parent. This one is linked statically and allocates
 * nothing, so it is smaller than any program that it starts. The preload is set between fork and
 * exec: the launcher itself never runs under it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOT_STARTED = 127, FIRST_OF_PROGRAM = 5 };

static volatile pid_t child;

/* A process group, so that the helpers of a compiler driver end with it. */
static void on_limit(int number) {
  (void)number;
  if (child > 0) kill(-child, SIGKILL);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void become_program(char** argv) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* Ctrl-C reaches the launcher, not this group */
  int output = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC, 0644);
  int nothing = open("/dev/null", O_RDONLY);
  if (output < 0 || nothing < 0) _exit(NOT_STARTED);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  /* The faults that a gate counts must not depend on the huge-page setting of the system. */
  if (getenv("BENCH_NO_HUGE") != NULL) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  if (strcmp(argv[2], "-") != 0) {
    setenv("LD_PRELOAD", argv[2], 1);
  } else {
    unsetenv("LD_PRELOAD");
  }
  execv(argv[FIRST_OF_PROGRAM], argv + FIRST_OF_PROGRAM);
  _exit(NOT_STARTED);
}

int main(int argc, char** argv) {
  if (argc <= FIRST_OF_PROGRAM) return 2;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_limit;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, NULL);

  uint64_t start = now_ns();
  child = fork();
  if (child < 0) return 2;
  if (child == 0) become_program(argv);
  setpgid(child, child); /* both sides set it: one of them is first */
  alarm((unsigned)atoi(argv[1]));
  struct rusage used;
  int status = 0;
  while (wait4(child, &status, 0, &used) < 0)
    if (errno != EINTR) return 2;
  uint64_t wall = now_ns() - start;
  alarm(0);

  char line[256];
  int bytes =
      snprintf(line, sizeof line, "%llu %lld %lld %ld %ld %ld %d %d\n", (unsigned long long)wall,
               (long long)used.ru_utime.tv_sec * 1000000 + used.ru_utime.tv_usec,
               (long long)used.ru_stime.tv_sec * 1000000 + used.ru_stime.tv_usec, used.ru_maxrss,
               used.ru_minflt, used.ru_majflt, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
               WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  int result = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (result < 0 || write(result, line, (size_t)bytes) != bytes) return 2;
  return 0;
}
