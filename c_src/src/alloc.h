/* alloc.h - the fast paths of allocation, for the entry points that build on them. */
#ifndef MI_ALLOC_H
#define MI_ALLOC_H

#include "large.h"
#include "thread.h"
#include "track.h"

/* Pops a block of a class; the generic path when its list is empty. */
static inline void* alloc_class(heap_t* heap, size_t class) {
  void* block = heap_pop(heap, class);
  return likely(block != NULL) ? block : heap_generic(heap, class);
}

/* The class of a small request: its size rounded up to 16, in units of 8. */
static inline size_t class_of_small(size_t size) { return round_up(size, DEFAULT_ALIGN) / 8; }

/* A request above SMALL_MAX. */
INTERNAL void* alloc_above_small(heap_t* heap, size_t size);

/* The same by the rounded size, which is the offset of the class's slot in the heap where pointers
 * have eight bytes: eight bytes of slot for eight bytes of size, so no shift is needed. */
_Static_assert(offsetof(heap_t, slot) == 0, "see alloc_rounded");
static inline void* alloc_rounded_pop(heap_t* heap, size_t rounded) {
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
static inline void* alloc_rounded(heap_t* heap, size_t rounded) {
  void* block = alloc_rounded_pop(heap, rounded);
  return likely(block != NULL) ? block : heap_generic(heap, rounded / 8);
}

/* A request that leaves room for our bytes at the end of a block; class 0 has none. */
static inline size_t with_seal(size_t size) { return size == 0 ? 0 : size + SEAL_SIZE; }

/* The classes of what mi_malloc and mi_malloc_align8 allocate for `size` bytes. */
static inline size_t alloc_any_class(size_t size) {
  if (size <= SMALL_MAX - SEAL_SIZE) return class_of_small(with_seal(size));
  return size <= MEDIUM_MAX - SEAL_SIZE ? class_of_medium(with_seal(size)) : CLASS_LARGE;
}
static inline size_t alloc_align8_class(size_t size) {
  return size <= ALIGN8_MAX - SEAL_SIZE ? (with_seal(size) + 7) / 8 : alloc_any_class(size);
}

/* A new block; with a memory checker it becomes known there with the size that was asked for. */
#if MI_TRACK
INTERNAL void* alloc_tracked(void* p, size_t size, bool zero);
/* The same for a block of `page` that the checker knows with another size. */
INTERNAL void* alloc_retracked(page_t* page, void* p, size_t size);
#elif SECURE_SEALS
static inline void* alloc_tracked(void* p, size_t size, bool zero) {
  (void)zero;
  if (likely(p != NULL)) secure_seal(map_page_checked(p), p, size);
  return p;
}
static inline void* alloc_retracked(page_t* page, void* p, size_t size) {
  secure_reseal(page, p, size);
  return p;
}
#else
static inline void* alloc_tracked(void* p, size_t size, bool zero) {
  (void)size, (void)zero;
  return p;
}
static inline void* alloc_retracked(page_t* page, void* p, size_t size) {
  (void)page, (void)size;
  return p;
}
#endif

/* A block of the class for `size` bytes, at least ALLOC_POP_MIN, if the class has a list. */
#if SECURE_SEALS
#define ALLOC_POP_MIN SECURE_NEW_MIN
#else
#define ALLOC_POP_MIN ((size_t)1)
#endif
static inline void* alloc_pop(heap_t* heap, size_t class, size_t size) {
#if SECURE_SEALS
  block_t** list = &heap->slot[class];
  if (unlikely(*list == NULL)) return NULL;
  mi_assert_internal(size >= ALLOC_POP_MIN);
  return secure_new(heap->queue[class].current, *list, list, size);
#else
  track_enter();
  void* p = heap_pop(heap, class);
  track_leave();
  return alloc_tracked(p, size, false);
#endif
}

/* A small request, if its class has a list. NULL: the long way decides. */
static inline void* alloc_small_pop(heap_t* heap, size_t size) {
#if SECURE_SEALS
  if (unlikely(size - 1 >= SMALL_MAX - SEAL_SIZE)) return NULL; /* blocks of size 0 have no seal */
  return alloc_pop(heap, class_of_small(size + SEAL_SIZE), size);
#else
  if (unlikely(size > SMALL_MAX)) return NULL;
  track_enter();
  void* p = alloc_rounded_pop(heap, round_up(size, DEFAULT_ALIGN));
  track_leave();
  return alloc_tracked(p, size, false);
#endif
}

/* Any request; inlined where it is the fast path. `untracked`: the caller tells the checker, or
 * seals the block. */
static inline void* alloc_any_untracked(heap_t* heap, size_t size) {
  if (likely(size <= SMALL_MAX - SEAL_SIZE))
    return alloc_rounded(heap, round_up(with_seal(size), DEFAULT_ALIGN));
  return alloc_above_small(heap, size);
}
#if SECURE_SEALS
/* A request of any size; there may be no list. */
INTERNAL void* alloc_any_slow(heap_t* heap, size_t size);
static inline void* alloc_any_in(heap_t* heap, size_t size) {
  if (likely(size - ALLOC_POP_MIN <= SMALL_MAX - SEAL_SIZE - ALLOC_POP_MIN)) {
    size_t class = class_of_small(size + SEAL_SIZE);
    if (likely(heap->slot[class] != NULL)) return alloc_pop(heap, class, size);
  }
  return alloc_any_slow(heap, size);
}
#else
static inline void* alloc_any_in(heap_t* heap, size_t size) {
  track_enter();
  void* p = alloc_any_untracked(heap, size);
  track_leave();
  return alloc_tracked(p, size, false);
}
#endif
static inline void* alloc_any(size_t size) { return alloc_any_in(heap_default, size); }
INTERNAL void* alloc_zeroed_untracked(heap_t* heap, size_t size);
static inline void* alloc_zeroed_in(heap_t* heap, size_t size) {
  if (SECURE_ZERO && likely(size <= MEDIUM_MAX - SEAL_SIZE)) return alloc_any_in(heap, size);
  track_enter();
  void* p = alloc_zeroed_untracked(heap, size);
  track_leave();
  return alloc_tracked(p, size, true);
}
static inline void* alloc_zeroed(size_t size) { return alloc_zeroed_in(heap_default, size); }
/* The product of an array's count and size does not fit: NULL, after a report in debug builds. */
INTERNAL void* alloc_overflow(size_t count, size_t size);
/* Copies of strings; NULL for NULL. */
INTERNAL char* alloc_string(heap_t* heap, const char* s);
INTERNAL char* alloc_string_n(heap_t* heap, const char* s, size_t n);

/* The heap that a caller names: NULL means the thread's default heap. Debug builds, and secure ones
 * of level 4, look whether the calling thread may use it. */
#if MI_CHECKS_HEAPS
/* Not a heap of this thread, or its first one; the default heap after a report. */
INTERNAL heap_t* heap_named_slow(heap_t* heap);
static inline heap_t* heap_named(heap_t* heap) {
  if (unlikely(heap == NULL)) return heap_default;
  heap_t* backing = heap_backing(heap);
  return likely(backing != NULL && backing == heap_backing(heap_default)) ? heap
                                                                          : heap_named_slow(heap);
}
#else
static inline heap_t* heap_named(heap_t* heap) {
  return unlikely(heap == NULL) ? heap_default : heap;
}
#endif

#endif
