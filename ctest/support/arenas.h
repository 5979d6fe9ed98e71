/* arenas.h - what the tests of arenas share.
 *
 * By default the library takes no memory that the test did not give it
 * (MIMALLOC_DISALLOW_OS_ALLOC=1), so a case knows all arenas. A case that needs other settings runs
 * a helper: a case that is not in the list, in a process with additions to the environment.
 */
#pragma once
#include "chain.h"
#include "printed.h"
#include "probe.h"
#include <mimalloc.h>

#define UNIT (64 * KIB)

typedef struct range_s {
  char* start;
  size_t size;
} range_t;

CHECK_UNUSED static bool range_has(range_t r, const void* p, size_t size) {
  const char* at = (const char*)opaque(p);
  return at >= r.start && at + size <= r.start + r.size;
}

CHECK_UNUSED static range_t range_new(size_t size, int protection) {
  char* map = (char*)mmap(NULL, size + 2 * UNIT, protection,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(map != MAP_FAILED);
  range_t r = {(char*)round_up((uintptr_t)map, UNIT), size};
  return r;
}

CHECK_UNUSED static range_t area_of(mi_arena_id_t id) {
  range_t r;
  r.start = (char*)mi_arena_area(id, &r.size);
  return r;
}

CHECK_UNUSED static mi_arena_id_t manage(range_t r, bool exclusive) {
  mi_arena_id_t id = 99;
  CHECK(mi_manage_os_memory_ex(r.start, r.size, true, false, true, -1, exclusive, &id));
  return id;
}

/* The same for memory that was never written. */
CHECK_UNUSED static mi_arena_id_t arena_new(size_t size, bool exclusive) {
  return manage(range_new(size, PROT_READ | PROT_WRITE), exclusive);
}

CHECK_UNUSED static bool is_readable(const void* p) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  bool ok = write(ends[1], p, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return ok;
}

CHECK_UNUSED static bool is_mapped(const void* p) {
  unsigned char present;
  return mincore((void*)((uintptr_t)p / OS_PAGE * OS_PAGE), 1, &present) == 0;
}

/* Bytes of address space in use. */
CHECK_UNUSED static size_t mapped_bytes(void) {
  char text[256];
  read_file("/proc/self/statm", text, sizeof text);
  return strtoul(text, NULL, 10) * OS_PAGE;
}

CHECK_UNUSED static size_t commit_now(void) {
  size_t commit = 0;
  mi_process_info(NULL, NULL, NULL, NULL, NULL, &commit, NULL, NULL);
  return commit;
}

CHECK_UNUSED static _Atomic(int) errors_seen[200];
CHECK_UNUSED static void error_count(int code, void* arg) {
  (void)arg;
  if (code >= 0 && code < (int)COUNT_OF(errors_seen)) errors_seen[code]++;
}

/* Runs this program as `helper` with these additions to the environment ("NAME=value"). Does not
 * use setenv, which needs memory. */
CHECK_UNUSED static void run_helper(const char* helper, const char* const* additions) {
  static char* entries[1000];
  size_t n = 0;
  for (size_t i = 0; additions[i] != NULL; i++) entries[n++] = (char*)(uintptr_t)additions[i];
  size_t added = n;
  for (char** e = environ; *e != NULL && n + 1 < COUNT_OF(entries); e++) {
    size_t name = strcspn(*e, "=") + 1;
    bool again = false;
    for (size_t i = 0; i < added; i++) again |= strncmp(entries[i], *e, name) == 0;
    if (!again) entries[n++] = *e;
  }
  entries[n] = NULL;
  char** before = environ;
  environ = entries;
  const char* args[] = {helper, NULL};
  check_wait_ok(check_start_self(args, -1, -1), helper);
  environ = before;
}
#define RUN_HELPER(helper, ...) run_helper(#helper, (const char* const[]){__VA_ARGS__, NULL})

CHECK_UNUSED static void use_and_release(size_t size, unsigned char value) {
  void* p = mi_malloc(size);
  if (!CHECK_NOT_NULL(p)) return;
  memset(p, value, size);
  mi_free(p);
}

/* ---- the program ---- */

CHECK_UNUSED static int arenas_main(int argc, char** argv, const check_case_t* cases, size_t count,
                                    const check_case_t* helpers, size_t helper_count) {
  /* Read by the library at start, so it must be there before this process begins. */
  if (getenv("MIMALLOC_DISALLOW_OS_ALLOC") == NULL) {
    setenv("MIMALLOC_DISALLOW_OS_ALLOC", "1", 1);
    execv("/proc/self/exe", argv);
    return 126;
  }
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0)
    return check_main(argc, argv, helpers, helper_count);
  return check_main(argc, argv, cases, count);
}
