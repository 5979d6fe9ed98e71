/* os/wasi.c - the operating system, for WebAssembly with one thread (WASI, Emscripten).
 *
 * Owns:    os_info, the list of released ranges.
 * Always:  memory only grows. All address space has memory, and none of it can be protected. A
 *          released range is kept for the next reservation. Fresh memory is zero.
 * Threads: one.
 *
 * Memory comes from sbrk of the C library, whose own malloc uses it too.
 */
#include "os.h"

#if OS_WASM

#include "unix_common.h"

#include <stdlib.h>
#include "not_unix.h"

#define GROW_UNIT ((size_t)64 * KiB) /* a page of WebAssembly */

/* Reserved address space is memory at once, so the library reserves little ahead of demand. */
static os_info_t os_info = {.page_size = GROW_UNIT, .overcommits = true, .ahead_max = 4 * MiB};

typedef struct range_s {
  struct range_s* next;
  size_t size;
} range_t;
static range_t* released; /* by rising address; neighbours are joined */

INTERNAL void os_init(void) {}

/* ---- memory ---- */

INTERNAL void os_release(void* p, size_t size) {
  if (size == 0) return;
  range_t** link = &released;
  range_t* before = NULL;
  while (*link != NULL && (char*)*link < (char*)p) {
    before = *link;
    link = &before->next;
  }
  range_t* range = p;
  *range = (range_t){*link, size};
  *link = range;
  if (range->next != NULL && (char*)p + size == (char*)range->next) {
    range->size += range->next->size;
    range->next = range->next->next;
  }
  if (before != NULL && (char*)before + before->size == (char*)range) {
    before->size += range->size;
    before->next = range->next;
  }
}

/* First fit; the rest on both sides stays in the list. */
static void* take_released(size_t size, size_t align) {
  for (range_t** link = &released; *link != NULL; link = &(*link)->next) {
    range_t* range = *link;
    char* start = (char*)range;
    char* p = (char*)round_up((uintptr_t)start, align);
    size_t head = (size_t)(p - start), whole = range->size;
    if (head > whole || whole - head < size) continue;
    *link = range->next;
    os_release(start, head);
    os_release(p + size, whole - head - size);
    return memset(p, 0, size);
  }
  return NULL;
}

/* All memory is accessible, whatever `access` says. */
INTERNAL void* os_reserve(size_t size, size_t align, os_access_t access) {
  (void)access;
  size = round_up(size, GROW_UNIT);
  void* p = take_released(size, align);
  if (p != NULL) return p;
  char* end = sbrk(0); /* there is no other thread that moves it meanwhile */
  size_t head = round_up((uintptr_t)end, align) - (uintptr_t)end;
  if (size > PTRDIFF_MAX - head) return NULL;
  char* start = sbrk((intptr_t)(head + size));
  if (start == (char*)-1) return NULL;
  os_release(start, head);
  return start + head;
}

INTERNAL size_t os_numa_nodes(void) { return 1; }

INTERNAL bool os_commit(void* p, size_t size) { return memset(p, 0, size) != NULL; }
INTERNAL bool os_decommit(void* p, size_t size) { return (void)p, (void)size, true; }
/* Memory cannot be given back: it stays as it is. */
INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero) {
  (void)p, (void)size, (void)decommits;
  *zero = false;
  return true;
}
INTERNAL bool os_protect(void* p, size_t size) { return (void)p, (void)size, false; }
INTERNAL bool os_shut(void* p, size_t size) { return (void)p, (void)size, false; }
INTERNAL bool os_open(void* p, size_t size) { return (void)p, (void)size, true; }
INTERNAL size_t os_resident(const void* p, size_t size) { return (void)p, size; }

/* ---- time and process ---- */

INTERNAL void os_process(os_process_t* info) {
  memset(info, 0, sizeof(*info));
  info->rss = info->peak_rss = __builtin_wasm_memory_size(0) * GROW_UNIT;
}

#if MI_SECURE > 0
INTERNAL bool os_random(uint64_t* random) {
  if (getentropy(random, sizeof(*random)) == 0) return true;
  *random = os_clock_ms() * UINT64_C(0x9e3779b97f4a7c15); /* only makes two runs differ */
  return false;
}
#endif

INTERNAL uintptr_t os_thread_id(void) { return 1; }
INTERNAL void os_nap(unsigned us) { (void)us; }

INTERNAL char* os_real_path(const char* path, char* resolved) {
#if defined(__EMSCRIPTEN__)
  return realpath(path, resolved);
#else
  (void)path, (void)resolved; /* not every release of WASI's C library has realpath */
  errno = ENOSYS;
  return NULL;
#endif
}

/* ---- threads: there is one, and it does not end before the process ---- */

INTERNAL void os_lock(os_lock_t* lock) { lock->held = true; }
INTERNAL void os_unlock(os_lock_t* lock) { lock->held = false; }
INTERNAL void os_lock_reset(os_lock_t* lock) { lock->held = false; }
INTERNAL bool os_thread_hook(void (*hook)(void*)) { return (void)hook, true; }
INTERNAL void os_thread_hook_set(void* value) { (void)value; }
INTERNAL void os_thread_hook_remove(void) {}

#endif
