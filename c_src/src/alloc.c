/* alloc.c - malloc, calloc and their kin.
 *
 * Owns:    nothing.
 * Always:  a small request costs one compare, one load of the list, one of the next block and one
 *          store; everything unusual is behind an empty list.
 * Threads: any.
 * Uses:    alloc.h.          Used by: the program, and the entry points on this floor and above.
 */
#include "alloc.h"
#include "free.h"
#include "log.h"

void* mi_malloc(size_t size) mi_attr_noexcept { return alloc_any(size); }

void* mi_malloc_small(size_t size) mi_attr_noexcept { return alloc_any(size); }

void* mi_malloc_align8(size_t size) mi_attr_noexcept {
  if (unlikely(size > ALIGN8_MAX - SEAL_SIZE)) return mi_malloc(size);
  track_enter();
  void* p = alloc_rounded(heap_default, round_up(with_seal(size), 8));
  track_leave();
  return alloc_tracked(p, size, false);
}

INTERNAL NOINLINE void* alloc_above_small(heap_t* heap, size_t size) {
  if (unlikely(size > MEDIUM_MAX - SEAL_SIZE)) return large_alloc(heap, size, 1, false);
  return alloc_class(heap, class_of_medium(with_seal(size)));
}

#if SECURE_SEALS
INTERNAL NOINLINE void* alloc_any_slow(heap_t* heap, size_t size) {
  block_t** tiny = &heap->slot[SECURE_TINY / 8];
  if (size - 1 < ALLOC_POP_MIN - 1 && *tiny != NULL)
    return secure_new_tiny(heap->queue[SECURE_TINY / 8].current, *tiny, tiny, size);
  if (size >= ALLOC_POP_MIN && size <= MEDIUM_MAX - SEAL_SIZE) {
    size_t whole = with_seal(size);
    void* p =
        alloc_pop(heap, whole <= SMALL_MAX ? class_of_small(whole) : class_of_medium(whole), size);
    if (likely(p != NULL)) return p;
  }
  return alloc_tracked(alloc_any_untracked(heap, size), size, false);
}
#endif

/* ---- zeroed ---- */

/* Blocks of size 0 may be inaccessible, and at level 4 all that are handed out are zero. */
static void* zero_block(void* p, size_t class) {
  if (p == NULL || SECURE_ZERO || (class == 0 && SECURE_GUARDS)) return p;
  size_t size = class_block_size(class);
  track_open(p, size);
  return memset(p, 0, size);
}

static NOINLINE void* zalloc_above_small(heap_t* heap, size_t size) {
  if (size > MEDIUM_MAX - SEAL_SIZE) return large_alloc(heap, size, 1, true);
  size_t class = class_of_medium(with_seal(size));
  block_t* p = alloc_class(heap, class);
  if (p == NULL) return NULL;
  if (heap == &heap_empty) heap = heap_default; /* the thread has its own by now */
  /* The block came from the current page of its class; if that list was carved from zero memory,
   * only the link has been written. */
  if (heap_is_real(heap) && (heap->queue[class].list & LIST_ZERO) != 0) {
    p->next = NULL;
    return p;
  }
  return zero_block(p, class);
}

INTERNAL void* alloc_zeroed_untracked(heap_t* heap, size_t size) {
  if (likely(size <= SMALL_MAX - SEAL_SIZE)) {
    size_t class = class_of_small(with_seal(size));
    return zero_block(alloc_class(heap, class), class);
  }
  return zalloc_above_small(heap, size);
}

void* mi_zalloc(size_t size) mi_attr_noexcept { return alloc_zeroed(size); }

void* mi_zalloc_small(size_t size) mi_attr_noexcept { return alloc_zeroed(size); }

void* mi_zalloc_align8(size_t size) mi_attr_noexcept {
  if (unlikely(size > ALIGN8_MAX - SEAL_SIZE)) return alloc_zeroed(size);
  size_t class = (with_seal(size) + 7) / 8;
  track_enter();
  void* p = zero_block(alloc_class(heap_default, class), class);
  track_leave();
  return alloc_tracked(p, size, true);
}

#if MI_TRACK
INTERNAL void* alloc_tracked(void* p, size_t size, bool zero) {
  if (p != NULL) track_alloc(p, size, block_usable(map_page_checked(p), p), zero);
  return p;
}

INTERNAL void* alloc_retracked(page_t* page, void* p, size_t size) {
  size_t usable = block_usable(page, p);
  (void)track_free(p, usable);
  track_alloc(p, size, usable, false);
  track_open(p, size);
  return p;
}
#endif

/* ---- arrays ---- */

INTERNAL COLD void* alloc_overflow(size_t count, size_t size) {
#if MI_DEBUG > 0
  log_error(EOVERFLOW, "allocation of %zu times %zu bytes overflows\n", count, size);
#else
  (void)count, (void)size;
#endif
  errno = ENOMEM;
  return NULL;
}

void* mi_calloc(size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  if (unlikely(!multiply(count, size, &total))) return alloc_overflow(count, size);
  return alloc_zeroed(total);
}

void* mi_mallocn(size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  if (unlikely(!multiply(count, size, &total))) return alloc_overflow(count, size);
  return alloc_any(total);
}

/* ---- strings ---- */

INTERNAL char* alloc_string(heap_t* heap, const char* s) {
  if (s == NULL) return NULL;
  size_t n = strlen(s);
  char* copy = alloc_any_in(heap, n + 1);
  return copy == NULL ? NULL : memcpy(copy, s, n + 1);
}

INTERNAL char* alloc_string_n(heap_t* heap, const char* s, size_t n) {
  if (s == NULL) return NULL;
  const char* end = memchr(s, 0, n);
  if (end != NULL) n = (size_t)(end - s);
  char* copy = alloc_any_in(heap, n == SIZE_MAX ? n : n + 1);
  if (copy == NULL) return NULL;
  copy[n] = 0;
  return memcpy(copy, s, n);
}

char* mi_strdup(const char* s) mi_attr_noexcept { return alloc_string(heap_default, s); }
char* mi_strndup(const char* s, size_t n) mi_attr_noexcept {
  return alloc_string_n(heap_default, s, n);
}

/* ---- from a heap that the caller names ---- */

#if MI_CHECKS_HEAPS
INTERNAL COLD heap_t* heap_named_slow(heap_t* heap) {
  heap_t* mine = thread_backing();
  if (mine != NULL && heap_backing(heap) == mine) return heap;
  log_error(EFAULT, "heap %p is used by a thread that did not create it\n", (void*)heap);
  return heap_default;
}
#endif

void* mi_heap_malloc(mi_heap_t* heap, size_t size) mi_attr_noexcept {
  return alloc_any_in(heap_named(heap), size);
}
void* mi_heap_malloc_small(mi_heap_t* heap, size_t size) mi_attr_noexcept {
  return alloc_any_in(heap_named(heap), size);
}
void* mi_heap_zalloc(mi_heap_t* heap, size_t size) mi_attr_noexcept {
  return alloc_zeroed_in(heap_named(heap), size);
}
void* mi_heap_zalloc_small(mi_heap_t* heap, size_t size) mi_attr_noexcept {
  return alloc_zeroed_in(heap_named(heap), size);
}
void* mi_heap_calloc(mi_heap_t* heap, size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  if (unlikely(!multiply(count, size, &total))) return alloc_overflow(count, size);
  return alloc_zeroed_in(heap_named(heap), total);
}
void* mi_heap_mallocn(mi_heap_t* heap, size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  if (unlikely(!multiply(count, size, &total))) return alloc_overflow(count, size);
  return alloc_any_in(heap_named(heap), total);
}
char* mi_heap_strdup(mi_heap_t* heap, const char* s) mi_attr_noexcept {
  return alloc_string(heap_named(heap), s);
}
char* mi_heap_strndup(mi_heap_t* heap, const char* s, size_t n) mi_attr_noexcept {
  return alloc_string_n(heap_named(heap), s, n);
}
