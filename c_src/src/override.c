/* override.c - the allocation symbols of libc, on ELF systems.
 *
 * Owns:    nothing.
 * Always:  errno as POSIX has it: ENOMEM when memory runs out, EINVAL for an alignment that is
 *          none; free keeps it. Where a signature is the same as ours the symbol is an alias.
 * Threads: any.
 * Uses:    the entry points below.          Used by: every program that links or preloads us.
 */
#include "override.h"

#if MI_MALLOC_OVERRIDE && defined(__ELF__)

#include "mimalloc.h"
#include "alloc.h"
#include "aligned.h"
#include "arena.h"
#include "large.h"
#include <errno.h>
#include <stdio.h>

/* ---- C ---- */

ALIAS(mi_malloc) void* malloc(size_t size);
ALIAS(mi_calloc) void* calloc(size_t count, size_t size);
ALIAS(mi_realloc) void* realloc(void* p, size_t size);
ALIAS(mi_free) void free(void* p);
ALIAS(mi_free) void cfree(void* p);
ALIAS(mi_free) void vfree(void* p);
ALIAS(mi_strdup) char* strdup(const char* s);
ALIAS(mi_strndup) char* strndup(const char* s, size_t n);
ALIAS(mi_reallocf) void* reallocf(void* p, size_t size);
ALIAS(mi_usable_size) size_t malloc_size(const void* p);
ALIAS(mi_usable_size) size_t malloc_usable_size(void* p);
ALIAS(mi_good_size) size_t malloc_good_size(size_t size);
ALIAS(mi_posix_memalign) int posix_memalign(void** p, size_t alignment, size_t size);
ALIAS(mi_memalign) void* memalign(size_t alignment, size_t size);
ALIAS(mi_aligned_alloc) void* aligned_alloc(size_t alignment, size_t size);
ALIAS(mi_valloc) void* valloc(size_t size);
ALIAS(mi_pvalloc) void* pvalloc(size_t size);
ALIAS(mi_free_size) void free_sized(void* p, size_t size);

/* C23: (alignment, size), the reverse of ours. */
EXPORT void free_aligned_sized(void* p, size_t alignment, size_t size) {
  mi_free_size_aligned(p, size, alignment);
}

/* glibc and POSIX 2024: ENOMEM for an overflow too. */
EXPORT void* reallocarray(void* p, size_t count, size_t size) {
  return mi_reallocn(p, count, size);
}

/* As NetBSD has it: errors are returned, errno is kept. Weak: a program may bring its own. */
EXPORT __attribute__((weak)) int reallocarr(void* p, size_t count, size_t size) {
  int saved = errno;
  int error = mi_reallocarr(p, count, size);
  errno = saved;
  return error;
}

/* Microsoft's order of parameters. */
EXPORT void* _aligned_malloc(size_t size, size_t alignment) {
  return mi_malloc_aligned(size, alignment);
}

#if OS_HAS_LIBC_MALLOC
ALIAS(mi_malloc) void* __libc_malloc(size_t size);
ALIAS(mi_calloc) void* __libc_calloc(size_t count, size_t size);
ALIAS(mi_realloc) void* __libc_realloc(void* p, size_t size);
ALIAS(mi_free) void __libc_free(void* p);
ALIAS(mi_free) void __libc_cfree(void* p);
ALIAS(mi_valloc) void* __libc_valloc(size_t size);
ALIAS(mi_pvalloc) void* __libc_pvalloc(size_t size);
ALIAS(mi_memalign) void* __libc_memalign(size_t alignment, size_t size);
ALIAS(mi_posix_memalign) int __posix_memalign(void** p, size_t alignment, size_t size);
#endif

/* ---- questions and adjustments that glibc's malloc answers ---- */

struct mallinfo {
  int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo2 {
  size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

EXPORT struct mallinfo2 mallinfo2(void) {
  arena_stats_t a;
  large_stats_t d;
  arena_stats(&a);
  large_stats(&d);
  struct mallinfo2 info;
  memset(&info, 0, sizeof(info));
  info.arena = a.committed;
  info.hblks = a.arenas;
  info.hblkhd = d.reserved;
  info.uordblks = a.in_use;
  info.fordblks = a.committed > a.in_use ? a.committed - a.in_use : 0;
  info.keepcost = info.fordblks;
  return info;
}

static int clamp_int(size_t x) { return x > INT_MAX ? INT_MAX : (int)x; }

EXPORT struct mallinfo mallinfo(void) {
  struct mallinfo2 i = mallinfo2();
  return (struct mallinfo){clamp_int(i.arena),   clamp_int(i.ordblks),  clamp_int(i.smblks),
                           clamp_int(i.hblks),   clamp_int(i.hblkhd),   clamp_int(i.usmblks),
                           clamp_int(i.fsmblks), clamp_int(i.uordblks), clamp_int(i.fordblks),
                           clamp_int(i.keepcost)};
}

EXPORT int malloc_info(int options, FILE* stream) {
  if (options != 0) {
    errno = EINVAL;
    return -1;
  }
  struct mallinfo2 i = mallinfo2();
  return fprintf(stream,
                 "<malloc version=\"1\">\n"
                 "<system type=\"current\" size=\"%zu\"/>\n"
                 "<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n"
                 "<total type=\"mmap\" count=\"1\" size=\"%zu\"/>\n"
                 "</malloc>\n",
                 i.arena, i.fordblks, i.hblkhd) < 0
             ? -1
             : 0;
}

EXPORT void malloc_stats(void) { mi_stats_print_out(NULL, NULL); }

/* 1 if memory was given back. */
EXPORT int malloc_trim(size_t pad) {
  (void)pad;
  arena_stats_t before, after;
  arena_stats(&before);
  mi_collect(true);
  arena_stats(&after);
  return after.purged > before.purged;
}

/* glibc's parameters have no counterpart here: accepted, without effect. */
EXPORT int mallopt(int parameter, int value) {
  (void)parameter, (void)value;
  return 1;
}

#else
typedef int override_is_off; /* a translation unit is not empty */
#endif
