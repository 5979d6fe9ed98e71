/* short.c - processes that end soon after they began.
 *
 * Usage:  short PROCESSES BLOCKS
 * Starts itself again PROCESSES times, one after the other, each time with its answer as exit
 * code: a process that allocates BLOCKS blocks, frees half of them and ends. The parent sums the
 * codes. Measures the cost to load, start and end a library.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

enum { SMALLEST = 16, LARGEST = 1024, NOT_STARTED = 127, CODES = 100 };
static const char child_mark[] = "child";

static int child_main(size_t number, size_t blocks) {
  struct rng rng = rng_new(number);
  unsigned char** kept = bench_zeroed(blocks, sizeof *kept);
  unsigned sum = 0;
  for (size_t i = 0; i < blocks; i++) {
    size_t bytes = rng_between(&rng, SMALLEST, LARGEST);
    kept[i] = bench_alloc(bytes);
    memset(kept[i], (int)(bytes & 0xff), bytes);
    if (i % 2 == 0) continue;
    size_t old = rng_between(&rng, 0, i);
    if (kept[old] == NULL) continue;
    sum = sum * 31 + kept[old][0];
    free(kept[old]);
    kept[old] = NULL;
  }
  return (int)(sum % CODES);
}

static int child_run(size_t number, const char* blocks) {
  char text[32];
  snprintf(text, sizeof text, "%zu", number);
  char* const arguments[] = {(char*)"short", (char*)child_mark, text, (char*)blocks, NULL};
  pid_t pid = vfork();
  if (pid == 0) {
    execv("/proc/self/exe", arguments);
    _exit(NOT_STARTED);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) bench_die("no process");
  if (WEXITSTATUS(status) >= CODES) bench_die("a process failed");
  return WEXITSTATUS(status);
}

int main(int argc, char** argv) {
  bench_start();
  if (argc == 4 && strcmp(argv[1], child_mark) == 0)
    return child_main(bench_arg(argc, argv, 2, 1), bench_arg(argc, argv, 3, 1));
  size_t processes = bench_arg(argc, argv, 1, 10);
  bench_arg(argc, argv, 2, 1); /* a complaint here is better than one from each child */
  uint64_t sum = 0;
  for (size_t i = 1; i <= processes; i++)
    sum = sum * 31 + (uint64_t)child_run(i, argc > 2 ? argv[2] : "300");
  bench_finish("short", sum);
  return 0;
}
