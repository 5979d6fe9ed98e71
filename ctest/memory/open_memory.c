/* open_memory.c - of the addresses that the library reserves, a program can read and write only
 * about as much as it uses. Core files, locked memory, the system's accounts and wild writes meet
 * no more than that.
 */
#include "probe.h"
#include <mimalloc.h>

/* Secure builds reserve tables for the state of blocks, which are readable as a whole. */
#define SKIP_IF_SECURE()                                                                           \
  do {                                                                                             \
    if (MI_TEST_SECURE > 0) {                                                                      \
      check_note("skipped: secure builds have tables\n");                                          \
      return;                                                                                      \
    }                                                                                              \
  } while (0)

static char maps[512 * KIB]; /* small: a case locks all memory */

/* The bytes that a core file has of private memory without a file. `*count`: all mappings. */
static size_t readable_bytes(size_t* count) {
  size_t bytes = 0;
  REQUIRE(read_file("/proc/self/maps", maps, sizeof maps) + 1 < sizeof maps);
  *count = 0;
  for (char* line = maps; *line != 0; line = strchr(line, '\n') + 1, ++*count) {
    unsigned long from, to, file;
    char access[5];
    REQUIRE(sscanf(line, "%lx-%lx %4s %*s %*s %lu", &from, &to, access, &file) == 4);
    if (access[0] == 'r' && access[3] == 'p' && file == 0) bytes += to - from;
  }
  return bytes;
}

/* Runs a helper, a case that is not in the list, and returns its status. */
static int run(const char* helper) {
  const char* args[] = {helper, NULL};
  return check_wait(check_start_self(args, -1, -1));
}

/* ---- core files ---- */

static void one_mebibyte_makes_little_memory_readable(void) {
  SKIP_IF_SECURE();
  size_t count;
  for (size_t used = 0; used < MIB;) {
    size_t size = 16 + used * 40 % 4000;
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    *p = 1;
    used += size;
  }
  size_t bytes = readable_bytes(&count) - sizeof maps;
  check_note("%zu KiB readable\n", bytes / KIB);
  CHECK_LE(bytes, 32 * MIB);
}

/* Of the first arena, the inaccessible memory that a debugger would write to a core file, and the
 * accessible memory that nothing would. False: the system does not tell. */
static bool wrongly_dumped(size_t* closed, size_t* open) {
  FILE* file = fopen("/proc/self/smaps", "re");
  if (file == NULL) return false;
  size_t size;
  uintptr_t start = (uintptr_t)mi_arena_area(1, &size);
  REQUIRE(start != 0);
  unsigned long from = 0, to = 0, first, end;
  char line[512], access[5] = "", flags[5];
  size_t told = 0;
  *closed = *open = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%lx-%lx %4s", &first, &end, flags) == 3) {
      from = first, to = end;
      memcpy(access, flags, sizeof access);
    } else if (strncmp(line, "VmFlags:", 8) == 0 && from >= start && from < start + size) {
      bool readable = access[0] == 'r', dumped = strstr(line, " dd ") == NULL;
      if (readable != dumped) *(readable ? open : closed) += to - from;
      told += to - from;
    }
  }
  fclose(file);
  return told >= size / 2;
}

static void check_dumped(void) {
  size_t closed, open;
  if (!wrongly_dumped(&closed, &open)) {
    check_note("skipped: the system does not tell what core files have\n");
    return;
  }
  CHECK_LE(closed, MI_TEST_SECURE > 0 ? MIB : 0); /* guards of secure builds */
  CHECK_EQ(open, 0);
}

static void closed_memory_is_in_no_core_file(void) {
  enum { BLOCKS = 64 };
  static char* blocks[BLOCKS];
  mi_free(mi_malloc(100));
  check_dumped();
  for (size_t i = 0; i < BLOCKS; i++) { /* frontiers move on */
    REQUIRE((blocks[i] = (char*)mi_malloc(i % 2 != 0 ? MIB : 60000)) != NULL);
    *blocks[i] = 1;
  }
  check_dumped();
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
}

/* ---- mappings ---- */

static void helper_holes(void) {
  enum { BLOCKS = 8000 };
  static char* blocks[BLOCKS];
  size_t before, after, again;
  mi_free(mi_malloc(100));
  (void)readable_bytes(&before);
  for (size_t i = 0; i < BLOCKS; i++) {
    REQUIRE((blocks[i] = (char*)mi_malloc(70000)) != NULL);
    *blocks[i] = 1;
  }
  for (size_t i = 0; i < BLOCKS; i += 2) mi_free(blocks[i]);
  mi_collect(true);
  (void)readable_bytes(&after);
  for (size_t i = 0; i < BLOCKS; i += 2) CHECK_NOT_NULL(blocks[i] = (char*)mi_malloc(70000));
  (void)readable_bytes(&again);
  check_note("%zu mappings, then %zu, then %zu\n", before, after, again);
  CHECK_LE(after, before + 16);
  CHECK_LE(again, before + 16);
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
  mi_collect(true);
  size_t commit;
  mi_process_info(NULL, NULL, NULL, NULL, NULL, &commit, NULL, NULL);
  CHECK_LE(commit, 2 * MIB); /* frontiers go back */
  check_dumped();
}

static void holes_are_no_mappings_where_open_memory_is_charged(void) {
  if (MI_TEST_SECURE > 0) {
    check_note("skipped: guards may be mappings\n");
    return;
  }
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  CHECK_EQ(run("helper_holes"), 0);
}

/* ---- locked memory ---- */

#define STATUS_CANNOT_LOCK 9

static void helper_lock_all(void) {
  struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
  (void)setrlimit(RLIMIT_MEMLOCK, &all);
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) exit(STATUS_CANNOT_LOCK);
  size_t before = rss_bytes();
  char* p = (char*)mi_malloc(100);
  REQUIRE(p != NULL);
  check_note("%zu KiB resident, %zu before\n", rss_bytes() / KIB, before / KIB);
  CHECK_LE(rss_bytes(), 40 * MIB);
}

static void helper_lock_eight_mebibytes(void) {
  struct rlimit limit = {8 * MIB, 8 * MIB};
  REQUIRE(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
  if (geteuid() == 0 && setuid(65534) != 0) exit(STATUS_CANNOT_LOCK);
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) exit(STATUS_CANNOT_LOCK);
  CHECK_NOT_NULL(mi_malloc(100));
  for (size_t used = 0; used < 2 * MIB; used += 1000) CHECK_NOT_NULL(mi_malloc(1000));
}

static void check_locking(const char* helper) {
  SKIP_IF_SECURE();
  int status = run(helper);
  if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_CANNOT_LOCK)
    check_note("skipped: the system does not lock the memory of %s\n", helper);
  else
    CHECK_EQ(status, 0);
}

static void locked_process_holds_little_memory(void) { check_locking("helper_lock_all"); }
static void eight_mebibytes_of_locked_memory_are_enough(void) {
  check_locking("helper_lock_eight_mebibytes");
}

/* ---- wild writes ---- */

static void helper_wild_write(void) {
  size_t size;
  mi_free(mi_malloc(100));
  char* start = (char*)mi_arena_area(1, &size);
  REQUIRE(start != NULL && size == GIB);
  signal(SIGSEGV, SIG_DFL); /* a sanitizer or a debugger may have set another */
  ((volatile char*)start)[size / 2 + 100 * MIB] = 1;
}

static void write_far_beyond_the_used_memory_faults(void) {
  int status = run("helper_wild_write");
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static const check_case_t cases[] = {
    CASE(one_mebibyte_makes_little_memory_readable),
    CASE(closed_memory_is_in_no_core_file),
    CASE(holes_are_no_mappings_where_open_memory_is_charged),
    CASE(locked_process_holds_little_memory),
    CASE(eight_mebibytes_of_locked_memory_are_enough),
    CASE(write_far_beyond_the_used_memory_faults),
};
static const check_case_t helpers[] = {CASE(helper_holes), CASE(helper_lock_all),
                                       CASE(helper_lock_eight_mebibytes), CASE(helper_wild_write)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
