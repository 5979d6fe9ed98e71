/* malloc.c - malloc, calloc and related functions.
 *
 * Always:  a small request costs one compare, one load of the list head, one load of the next block
 *          and one store. Every other case begins with an empty list or a size above
 *          SMALL_MAX.
 * Threads: any.
 */
#include "malloc.h"

DEFINE_BOTH(void*, malloc, (size_t size), malloc_in(heap, size))
DEFINE_BOTH(void*, malloc_small, (size_t size), malloc_in(heap, size))

void* mi_malloc_align8(size_t size) mi_attr_noexcept {
  if (unlikely(size > ALIGN8_MAX - CANARY_SIZE)) return mi_malloc(size);
  void* p = untracked(malloc_rounded(heap_default, round_up(with_canary(size), 8)));
  return finish_block(p, size, false);
}

INTERNAL NOINLINE void* malloc_above_small(heap_t* heap, size_t size) {
  if (unlikely(size > MEDIUM_MAX - CANARY_SIZE)) return large_malloc(heap, size, 1, false);
  return malloc_class(heap, class_of_medium(with_canary(size)));
}

#if SECURE_CANARIES
INTERNAL NOINLINE void* malloc_in_slow(heap_t* heap, size_t size) {
  block_t** tiny = &heap->free_list[TINY_SIZE / 8];
  if (size - 1 < POP_MIN - 1 && *tiny != NULL)
    return checked_new_tiny(heap->queue[TINY_SIZE / 8].active, *tiny, tiny, size);
  if (size >= POP_MIN && size <= MEDIUM_MAX - CANARY_SIZE) {
    size_t whole = with_canary(size);
    void* p =
        pop_block(heap, whole <= SMALL_MAX ? class_of_small(whole) : class_of_medium(whole), size);
    if (likely(p != NULL)) return p;
  }
  return finish_block(malloc_raw(heap, size), size, false);
}
#endif

/* ---- zeroed ---- */

INTERNAL NOINLINE void* zalloc_class(heap_t* heap, size_t cls) {
  block_t* p = malloc_class(heap, cls);
  if (p == NULL || (cls == 0 && SECURE_GUARDS)) return p; /* size 0: may be inaccessible */
  if (heap == &heap_empty) heap = heap_default;           /* the slow path has started the thread */
  /* The block came from the active page of its class. If its list was extended from zero memory,
   * the library has written the link only. */
  if (heap_is_real(heap) && (heap->queue[cls].list & LIST_ZERO) != 0) {
    p->next = NULL;
    return p;
  }
  return clear_block(p, class_block_size(cls));
}

INTERNAL NOINLINE void* zalloc_unusual(heap_t* heap, size_t size) {
  if (size > MEDIUM_MAX - CANARY_SIZE) return large_malloc(heap, size, 1, true);
  return zalloc_class(heap, class_of_malloc(size));
}

DEFINE_BOTH(void*, zalloc, (size_t size), zalloc_in(heap, size))
DEFINE_BOTH(void*, zalloc_small, (size_t size), zalloc_in(heap, size))

void* mi_zalloc_align8(size_t size) mi_attr_noexcept {
  if (unlikely(size - 1 >= ALIGN8_MAX - CANARY_SIZE)) return zalloc_in(heap_default, size);
  void* p = untracked(zalloc_rounded(heap_default, round_up(with_canary(size), 8)));
  return finish_block(p, size, true);
}

/* ---- arrays ---- */

INTERNAL COLD void* array_overflow(size_t count, size_t size) {
  if (MI_DEBUG > 0)
    log_error(EOVERFLOW, "allocation of %zu times %zu bytes overflows\n", count, size);
  errno = ENOMEM;
  return NULL;
}

static inline void* calloc_in(heap_t* heap, size_t count, size_t size) {
  size_t total;
  if (unlikely(!multiply(count, size, &total))) return array_overflow(count, size);
  return zalloc_in(heap, total);
}
static inline void* mallocn_in(heap_t* heap, size_t count, size_t size) {
  size_t total;
  if (unlikely(!multiply(count, size, &total))) return array_overflow(count, size);
  return malloc_in(heap, total);
}
DEFINE_BOTH(void*, calloc, (size_t count, size_t size), calloc_in(heap, count, size))
DEFINE_BOTH(void*, mallocn, (size_t count, size_t size), mallocn_in(heap, count, size))

/* ---- strings ---- */

INTERNAL char* strdup_in(heap_t* heap, const char* s) {
  if (s == NULL) return NULL;
  size_t n = strlen(s);
  char* copy = malloc_in(heap, n + 1);
  return copy == NULL ? NULL : memcpy(copy, s, n + 1);
}

INTERNAL char* strndup_in(heap_t* heap, const char* s, size_t n) {
  if (s == NULL) return NULL;
  const char* end = memchr(s, 0, n);
  if (end != NULL) n = (size_t)(end - s);
  char* copy = malloc_in(heap, n == SIZE_MAX ? n : n + 1);
  if (copy == NULL) return NULL;
  copy[n] = 0;
  return memcpy(copy, s, n);
}

DEFINE_BOTH(char*, strdup, (const char* s), strdup_in(heap, s))
DEFINE_BOTH(char*, strndup, (const char* s, size_t n), strndup_in(heap, s, n))

/* ---- from a heap that the caller names ---- */

INTERNAL COLD heap_t* heap_named_slow(heap_t* heap) {
  return heap_belongs_here(heap, "is used by") ? heap : heap_default;
}
