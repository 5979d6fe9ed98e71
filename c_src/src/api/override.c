/* override.c - the allocation symbols of libc, on ELF systems.
 *
 * Always:  errno is as POSIX requires: ENOMEM when memory runs out, EINVAL for an invalid
 *          alignment; free keeps it. With glibc it is also as glibc's manual says. A symbol is an
 *          alias of our function where signature and contract are the same.
 *          A program that defines its own malloc also defines free, and passes all blocks to it.
 *          So a function here that allocates calls the visible malloc, and one that frees calls
 *          the visible free, as in the C library. A program replaces malloc, calloc, realloc and
 *          free together.
 * Threads: any.
 */
#include "override.h"
#include "realloc.h"

#if MI_MALLOC_OVERRIDE && defined(__ELF__)

#include "aligned.h"
#include "stats.h"
#include "../memory/arena_reserve.h"
#include <stdio.h>

/* ---- malloc, and what a program replaces with it ---- */

ALIAS(mi_malloc) void* malloc(size_t size);
ALIAS(mi_calloc) void* calloc(size_t count, size_t size);
#if OS_LIKE_GLIBC
ALIAS(realloc_or_free) void* realloc(void* p, size_t size);
#else
ALIAS(mi_realloc) void* realloc(void* p, size_t size);
#endif
ALIAS(mi_free) void free(void* p);
ALIAS(mi_usable_size) size_t malloc_usable_size(void* p);
ALIAS(mi_good_size) size_t malloc_good_size(size_t size);

OWN(mi_malloc) void* own_malloc(size_t size);
OWN(mi_free) void own_free(void* p);

/* ---- by malloc, realloc and free ---- */

static char* string_by_program(const char* s, size_t length) {
  char* copy = visible(malloc)(length + 1);
  if (copy == NULL) return NULL;
  copy[length] = 0;
  return memcpy(copy, s, length);
}

/* Defined under other names: the system headers declare that `s` of strdup is not NULL. */
static char* duplicate(const char* s) {
  return likely(is_ours(malloc)) || s == NULL ? mi_strdup(s) : string_by_program(s, strlen(s));
}
static char* duplicate_n(const char* s, size_t n) {
  if (likely(is_ours(malloc)) || s == NULL) return mi_strndup(s, n);
  const char* end = memchr(s, 0, n);
  return string_by_program(s, end != NULL ? (size_t)(end - s) : n);
}
ALIAS(duplicate) char* strdup(const char* s);
ALIAS(duplicate_n) char* strndup(const char* s, size_t n);

/* glibc and POSIX 2024: ENOMEM for an overflow too. */
EXPORT void* reallocarray(void* p, size_t count, size_t size) {
  size_t total;
  return multiply(count, size, &total) ? visible(realloc)(p, total) : array_overflow(count, size);
}

/* As on BSD: a block that cannot be resized is freed. */
EXPORT void* reallocf(void* p, size_t size) {
  void* q = visible(realloc)(p, size);
  if (q == NULL && size != 0) visible(free)(p);
  return q;
}

/* As on NetBSD: errors are returned, errno is kept. Weak: a program may define its own. */
EXPORT WEAK int reallocarr(void* p, size_t count, size_t size) {
  int saved = errno, error = reallocarr_by(p, count, size, visible(realloc), visible(free));
  errno = saved;
  return error;
}

EXPORT void cfree(void* p) { visible(free)(p); }
EXPORT void vfree(void* p) { visible(free)(p); }
EXPORT size_t malloc_size(const void* p) {
  return visible(malloc_usable_size)((void*)(uintptr_t)p);
}

/* Debug and secure builds compare the size with the block. */
EXPORT void free_sized(void* p, size_t size) {
  (MI_CHECKED && is_ours(free)) ? mi_free_size(p, size) : visible(free)(p);
}

/* C23: (alignment, size), the reverse of ours. */
EXPORT void free_aligned_sized(void* p, size_t alignment, size_t size) {
  (MI_CHECKED && is_ours(free)) ? mi_free_size_aligned(p, size, alignment) : visible(free)(p);
}

/* ---- at an alignment ---- */

static int own_posix_memalign(void** p, size_t alignment, size_t size);
static void* own_aligned_alloc(size_t alignment, size_t size);
static void* own_memalign(size_t alignment, size_t size);
ALIAS(own_posix_memalign) int posix_memalign(void** p, size_t alignment, size_t size);
ALIAS(own_aligned_alloc) void* aligned_alloc(size_t alignment, size_t size);
ALIAS(own_memalign) void* memalign(size_t alignment, size_t size);

/* The program has its own malloc, but not the function that was called. The block comes from the
 * aligned function that the program has or, at an alignment that malloc guarantees, from its
 * malloc. A program with neither gets our block, and its free must forward it; without this library
 * glibc would allocate it. */
static void* aligned_as_program_has(size_t alignment, size_t size) {
  if (!is_ours(memalign)) return visible(memalign)(alignment, size);
  if (!is_ours(posix_memalign)) {
    void* p = NULL;
    int error = visible(posix_memalign)(&p, max_size(alignment, sizeof(void*)), size);
    if (error != 0) errno = error;
    return error == 0 ? p : NULL;
  }
  size_t whole = round_up(size, alignment);
  if (whole < size) {
    errno = ENOMEM;
    return NULL;
  }
  if (!is_ours(aligned_alloc)) return visible(aligned_alloc)(alignment, whole);
  if (alignment <= DEFAULT_ALIGN) {
    void* p = visible(malloc)(whole);
    if (((uintptr_t)p & (alignment - 1)) == 0) return p;
    visible(free)(p);
  }
  return malloc_aligned(heap_default, size, alignment);
}

/* The function of the program may itself call one of these functions; that inner call returns our
 * block. A flag in the heap of the thread tells that the thread is inside, for the library has only
 * one word of thread-local storage. Threads that have ended have no heap: only one of them at a
 * time may be inside. Relaxed: the flag guards no data. */
static COLD void* aligned_by_program(size_t alignment, size_t size) {
  static _Atomic(uint32_t) ended_asks;
  heap_t* heap = thread_backing();
  uint32_t asks = false;
  if (heap != NULL ? heap->asks_program : !cas_relaxed(&ended_asks, &asks, true))
    return malloc_aligned(heap_default, size, alignment);
  if (heap != NULL) heap->asks_program = true;
  void* p = aligned_as_program_has(alignment, size);
  if (heap != NULL)
    heap->asks_program = false;
  else
    store_relaxed(&ended_asks, false);
  return p;
}

static COLD int aligned_posix_by_program(void** p, size_t alignment, size_t size) {
  if (!is_ours(posix_memalign) || p == NULL || !is_power_of_two(alignment) ||
      alignment < sizeof(void*))
    return mi_posix_memalign(p, alignment, size);
  int saved = errno;
  void* q = aligned_by_program(alignment, size);
  errno = saved;
  if (q == NULL) return ENOMEM;
  *p = q;
  return 0;
}
static int own_posix_memalign(void** p, size_t alignment, size_t size) {
  return likely(is_ours(malloc)) ? mi_posix_memalign(p, alignment, size)
                                 : aligned_posix_by_program(p, alignment, size);
}

/* `visible`: the called name is ours. If not, the function of the program by this name wraps ours
 * and gets our block. */
static COLD void* aligned_unless_wrapped(bool visible, size_t alignment, size_t size) {
  return visible && is_power_of_two(alignment) ? aligned_by_program(alignment, size)
                                               : malloc_aligned(heap_default, size, alignment);
}

static void* own_aligned_alloc(size_t alignment, size_t size) {
  if (likely(is_ours(malloc))) return mi_aligned_alloc(alignment, size);
  return aligned_unless_wrapped(is_ours(aligned_alloc), alignment, size);
}

/* glibc rounds up to a power of two; EINVAL if there is none. */
static inline size_t memalign_alignment(size_t alignment) {
  if (!OS_LIKE_GLIBC || likely(is_power_of_two(alignment))) return alignment;
  size_t bit = alignment == 0 ? 0 : log2_of(alignment) + 1;
  return bit < sizeof(size_t) * CHAR_BIT ? (size_t)1 << bit : 0;
}

static void* own_memalign(size_t alignment, size_t size) {
  alignment = memalign_alignment(alignment);
  if (likely(is_ours(malloc))) return mi_memalign(alignment, size);
  return aligned_unless_wrapped(is_ours(memalign), alignment, size);
}

static size_t os_page_size(void) {
  mi_process_init(); /* before it the size is a guess */
  return os_info.page_size;
}

EXPORT void* valloc(size_t size) {
  return likely(is_ours(malloc)) ? mi_valloc(size) : aligned_by_program(os_page_size(), size);
}

EXPORT void* pvalloc(size_t size) {
  if (likely(is_ours(malloc))) return mi_pvalloc(size);
  size_t page = os_page_size(), whole = round_up(size, page);
  return aligned_by_program(page, whole < size ? SIZE_MAX : whole);
}

/* Microsoft's order of parameters. */
EXPORT void* _aligned_malloc(size_t size, size_t alignment) {
  if (likely(is_ours(malloc))) return mi_malloc_aligned(size, alignment);
  return aligned_unless_wrapped(true, alignment, size);
}

/* ---- glibc's internal names: always ours, for a program's own malloc may call them ---- */

#if OS_HAS_LIBC_MALLOC
ALIAS(mi_malloc) void* __libc_malloc(size_t size);
ALIAS(mi_calloc) void* __libc_calloc(size_t count, size_t size);
ALIAS(realloc_or_free) void* __libc_realloc(void* p, size_t size);
ALIAS(mi_free) void __libc_free(void* p);
ALIAS(mi_free) void __libc_cfree(void* p);
ALIAS(mi_valloc) void* __libc_valloc(size_t size);
ALIAS(mi_pvalloc) void* __libc_pvalloc(size_t size);
ALIAS(mi_posix_memalign) int __posix_memalign(void** p, size_t alignment, size_t size);
EXPORT void* __libc_memalign(size_t alignment, size_t size) {
  return malloc_aligned(heap_default, size, memalign_alignment(alignment));
}
#endif

/* ---- questions and adjustments that glibc's malloc answers ---- */

struct mallinfo {
  int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo2 {
  size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

/* OS-mapped blocks correspond to those that glibc maps one by one: they count in hblks and hblkhd
 * only. */
EXPORT struct mallinfo2 mallinfo2(void) {
  block_stats_t blocks;
  arena_stats_t arenas;
  stats_blocks(&blocks);
  arena_stats(&arenas);
  struct mallinfo2 info;
  memset(&info, 0, sizeof(info));
  info.arena = max_size(arenas.committed, blocks.live_bytes);
  info.ordblks = blocks.unused;
  info.hblks = blocks.os_mapped;
  info.hblkhd = blocks.os_mapped_bytes;
  info.uordblks = blocks.live_bytes;
  info.fordblks = info.arena - info.uordblks;
  info.keepcost = arenas.committed > arenas.in_use ? arenas.committed - arenas.in_use : 0;
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

/* Returns 1 if memory went back to the OS. */
EXPORT int malloc_trim(size_t pad) {
  (void)pad;
  arena_stats_t before, after;
  arena_stats(&before);
  mi_collect(true);
  arena_stats(&after);
  return after.purging.purged > before.purging.purged;
}

/* glibc's parameters have no counterpart here: accepted, without effect. */
EXPORT int mallopt(int parameter, int value) {
  (void)parameter, (void)value;
  return 1;
}

#endif
