/* malloc.h - the fast paths of allocation, for the entry points that build on them. */
#pragma once

#include "../heap/large.h"
#include "../thread/init.h"
#include "../thread/malloc_slow.h"
#include "../runtime/log.h"
#include "../base/checker.h"

/* Pops a block of the class; takes the slow path when the list is empty. */
static inline void* malloc_class(heap_t* heap, size_t cls) {
  void* block = heap_pop(heap, cls);
  return likely(block != NULL) ? block : malloc_slow(heap, cls);
}

/* Allocates more than SMALL_MAX bytes. */
INTERNAL void* malloc_above_small(heap_t* heap, size_t size);

/* Pops a block by the rounded size. With pointers of eight bytes the rounded size is the offset of
 * the list head of its class: eight bytes of list head for eight bytes of size, so no shift is
 * needed. */
_Static_assert(offsetof(heap_t, free_list) == 0, "see malloc_rounded");
static inline void* pop_rounded(heap_t* heap, size_t rounded) {
#if MI_SECURE > 0
  return heap_pop(heap, rounded / 8);
#else
  size_t offset = sizeof(block_t*) == 8 ? rounded : rounded / 8 * sizeof(block_t*);
  block_t* block = *(block_t**)((char*)heap + offset);
  if (likely(block != NULL)) {
    __asm__("" : "+r"(offset)); /* one instruction less than with the address computed once */
    *(block_t**)((char*)heap + offset) = block->next;
  }
  return block;
#endif
}
static inline void* malloc_rounded(heap_t* heap, size_t rounded) {
  void* block = pop_rounded(heap, rounded);
  return likely(block != NULL) ? block : malloc_slow(heap, rounded / 8);
}

/* The classes that mi_malloc and mi_malloc_align8 take blocks of `size` bytes from. */
static inline size_t class_of_malloc(size_t size) {
  if (size <= SMALL_MAX - CANARY_SIZE) return class_of_small(with_canary(size));
  return size <= MEDIUM_MAX - CANARY_SIZE ? class_of_medium(with_canary(size)) : CLASS_LARGE;
}
static inline size_t class_of_align8(size_t size) {
  return size <= ALIGN8_MAX - CANARY_SIZE ? (with_canary(size) + 7) / 8 : class_of_malloc(size);
}

/* The last step of an allocation. A memory checker learns the requested size, secure builds write
 * the canary, and the default build does nothing. */
static inline void* finish_block(void* p, size_t size, bool zero) {
  if (SECURE_CANARIES && likely(p != NULL)) canary_write(map_page_checked(p), p, size);
  if (MI_TRACK && p != NULL) track_alloc(p, size, block_usable(map_page_checked(p), p), zero);
  return p;
}
/* The same for a block of `page` that is resized in place. */
static inline void* finish_resized(page_t* page, void* p, size_t size) {
  canary_rewrite(page, p, size);
  if (!MI_TRACK) return p;
  size_t usable = block_usable(page, p);
  (void)track_free(p, usable);
  track_alloc(p, size, usable, false);
  track_open(p, size);
  return p;
}

/* Pops a block for `size` bytes, at least POP_MIN; NULL when the list of the class is empty. */
#define POP_MIN (SECURE_CANARIES ? CHECKED_NEW_MIN : (size_t)1)
static inline void* pop_block(heap_t* heap, size_t cls, size_t size) {
#if SECURE_CANARIES
  block_t** list = &heap->free_list[cls];
  if (unlikely(*list == NULL)) return NULL;
  mi_assert_internal(size >= POP_MIN);
  return checked_new(heap->queue[cls].active, *list, list, size);
#else
  return finish_block(untracked(heap_pop(heap, cls)), size, false);
#endif
}

/* Pops a block for a small request. NULL when the request is not small or the list is empty: the
 * caller takes the slow path. */
static inline void* pop_small(heap_t* heap, size_t size) {
#if SECURE_CANARIES
  if (unlikely(size - 1 >= SMALL_MAX - CANARY_SIZE))
    return NULL; /* blocks of size 0 have no canary */
  return pop_block(heap, class_of_small(size + CANARY_SIZE), size);
#else
  if (unlikely(size > SMALL_MAX)) return NULL;
  return finish_block(untracked(pop_rounded(heap, round_up(size, DEFAULT_ALIGN))), size, false);
#endif
}

/* A request of any size, inlined into the fast path. The caller calls finish_block. */
static inline void* malloc_raw(heap_t* heap, size_t size) {
  if (likely(size <= SMALL_MAX - CANARY_SIZE))
    return malloc_rounded(heap, round_up(with_canary(size), DEFAULT_ALIGN));
  return malloc_above_small(heap, size);
}
#if SECURE_CANARIES
/* A request of any size; the list of its class may be empty. */
INTERNAL void* malloc_in_slow(heap_t* heap, size_t size);
static inline void* malloc_in(heap_t* heap, size_t size) {
  if (likely(size - POP_MIN <= SMALL_MAX - CANARY_SIZE - POP_MIN)) {
    size_t cls = class_of_small(size + CANARY_SIZE);
    if (likely(heap->free_list[cls] != NULL)) return pop_block(heap, cls, size);
  }
  return malloc_in_slow(heap, size);
}
#else
static inline void* malloc_in(heap_t* heap, size_t size) {
  return finish_block(untracked(malloc_raw(heap, size)), size, false);
}
#endif

/* ---- zeroed ---- */

/* Clears a new block of `size` bytes. At level 4 it is zero already. */
static inline void* clear_block(void* p, size_t size) {
  if (SECURE_ZERO) return p;
  track_open(p, size);
  __asm__("" : "+r"(size)); /* else gcc, which knows a multiple of 8, stores one word at a time */
  return memset(p, 0, size);
}
/* A zeroed block of a class whose list may be empty; one of any size. */
INTERNAL void* zalloc_class(heap_t* heap, size_t cls);
INTERNAL void* zalloc_unusual(heap_t* heap, size_t size);
static inline void* zalloc_rounded(heap_t* heap, size_t rounded) {
  void* p = pop_rounded(heap, rounded);
  return likely(p != NULL) ? clear_block(p, rounded) : zalloc_class(heap, rounded / 8);
}
static inline void* zalloc_raw(heap_t* heap, size_t size) {
  if (unlikely(size - 1 >= SMALL_MAX - CANARY_SIZE)) return zalloc_unusual(heap, size);
  return zalloc_rounded(heap, round_up(with_canary(size), DEFAULT_ALIGN));
}
static inline void* zalloc_in(heap_t* heap, size_t size) {
  if (SECURE_ZERO && likely(size <= MEDIUM_MAX - CANARY_SIZE)) return malloc_in(heap, size);
  return finish_block(untracked(zalloc_raw(heap, size)), size, true);
}
/* The product of `count` and `size` overflows: sets errno and returns NULL, after a report in debug
 * builds. */
INTERNAL void* array_overflow(size_t count, size_t size);
/* Copies of strings; NULL for NULL. */
INTERNAL char* strdup_in(heap_t* heap, const char* s);
INTERNAL char* strndup_in(heap_t* heap, const char* s, size_t n);

/* The heap that the caller passed; the default heap of the thread for NULL. Debug builds and level
 * 4 check that the calling thread may use it. */
/* The thread may not have a heap yet. Returns `heap` if it belongs to this thread, else the default
 * heap, after a report. */
INTERNAL heap_t* heap_named_slow(heap_t* heap);
static inline heap_t* heap_named(heap_t* heap) {
  if (unlikely(heap == NULL)) return heap_default;
  if (!MI_CHECKS_HEAPS) return heap;
  heap_t* backing = heap_backing(heap);
  return likely(backing != NULL && backing == heap_backing(heap_default)) ? heap
                                                                          : heap_named_slow(heap);
}

/* Defines mi_<name> and mi_heap_<name>; `value` uses the parameters and `heap`, which is the
 * default heap or the one that the caller names. */
#define DEFINE_BOTH(type, name, parameters, value)                                                 \
  type mi_##name parameters mi_attr_noexcept {                                                     \
    heap_t* heap = heap_default;                                                                   \
    return value;                                                                                  \
  }                                                                                                \
  type mi_heap_##name(mi_heap_t* named, WITHOUT_PARENTHESES parameters) mi_attr_noexcept {         \
    heap_t* heap = heap_named(named);                                                              \
    return value;                                                                                  \
  }
#define WITHOUT_PARENTHESES(...) __VA_ARGS__
