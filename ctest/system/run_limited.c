/* run_limited.c - runs a program, and all that it starts, under a limit:
 *
 *   under as=512 PROGRAM...      MiB of address space (RLIMIT_AS)
 *   under data=512 PROGRAM...    MiB of private writable memory, touched or not (RLIMIT_DATA): what
 *                                vm.overcommit_memory=2 counts, but for one process
 *
 * Fails when the limit does not hold.
 */
#include "probe.h"

static bool limit(const char* word, const char* name, int resource) {
  size_t length = strlen(name);
  if (strncmp(word, name, length) != 0) return false;
  size_t bytes = strtoul(word + length, NULL, 10) * MIB;
  struct rlimit r = {bytes, bytes};
  if (bytes == 0 || setrlimit((__rlimit_resource_t)resource, &r) != 0) {
    check_fail("under: cannot set %s\n", word);
    return true;
  }
  void* p =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p != MAP_FAILED) check_fail("under: %s does not hold\n", word);
  return true;
}

int main(int argc, char** argv) {
  int i = 1;
  while (i < argc && (limit(argv[i], "as=", RLIMIT_AS) || limit(argv[i], "data=", RLIMIT_DATA)))
    i++;
  if (i == 1 || i == argc) check_fail("usage: under as=MIB|data=MIB PROGRAM...\n");
  if (check_failures > 0) return 125;
  execv(argv[i], argv + i);
  check_fail("under: cannot run %s\n", argv[i]);
  return 126;
}
