/* aligned.c - allocation at a stated alignment.
 *
 * Owns:    nothing.
 * Always:  up to a slice, an alignment comes from a class whose block size is a multiple of it,
 *          so that the address of the block is the address given out. Only an offset makes
 *          interior pointers.
 * Threads: any.
 * Uses:    alloc.h, free.h, large.h, log.h.          Used by: the program, posix, cxx, realloc.
 */
#include "aligned.h"
#include "free.h"
#include "log.h"

/* Above this an alignment with an offset is refused: the block would be mostly slack. */
#define OFFSET_ALIGN_MAX (16 * MiB)

static COLD void* bad_alignment(size_t align) {
#if MI_DEBUG > 0
  log_error(EOVERFLOW, "alignment is not usable: %zu\n", align);
#else
  (void)align;
#endif
  errno = EINVAL;
  return NULL;
}

/* What a block must have so that an offset in it can be aligned; SIZE_MAX, which is refused, where
 * the sum overflows. */
static size_t size_at_offset(size_t size, size_t align) {
  size_t total;
  return __builtin_add_overflow(size, align - 1, &total) ? SIZE_MAX : total;
}

/* Over-allocates and gives out a pointer into the block. */
static void* alloc_at_offset(heap_t* heap, size_t size, size_t align, size_t offset, bool zero) {
  if (align > OFFSET_ALIGN_MAX) return bad_alignment(align);
  size_t total = size_at_offset(size, align);
  /* Marking a page takes its owner. A thread that has ended owns none; and secure builds know of
   * each block where it starts, of a large one also where it was given out. */
  char* p = heap == &heap_ended || MI_SECURE > 0 ? large_alloc(heap, total, 1, zero)
            : zero                               ? alloc_zeroed_untracked(heap, total)
                                                 : alloc_any_untracked(heap, total);
  if (p == NULL) return NULL;
  size_t adjust = (0 - ((uintptr_t)p + offset)) & (align - 1);
  if (adjust == 0) return p;
  page_t* page = map_page_checked(p);
  p += adjust;
  if (page_class(page) == CLASS_LARGE) {
    large_mark(page, p);
  } else {
    /* All frees of the page's blocks look for the start of the block from now on. */
    page_set_flag(page, PAGE_INTERIOR, true);
    uintptr_t owner = load_relaxed(&page->owner);
    store_relaxed(&page->owner, owner | OWNER_GENERIC);
  }
  return p;
}

/* Blocks of size 0 are only 8-byte aligned. */
static inline size_t size_if_aligned(size_t size) { return size == 0 ? 1 : size; }

static inline bool is_large_if_aligned(size_t size, size_t align) {
  return align > SLICE_SIZE || size > MEDIUM_MAX - SEAL_SIZE;
}

/* That of a class that is a multiple of the alignment; at most MEDIUM_MAX. What is asked for here
 * gets its seal on top, and the sum must be a multiple. */
static inline size_t size_of_multiple(size_t size, size_t align) {
  return round_up(size + SEAL_SIZE, max_size(align, DEFAULT_ALIGN)) - SEAL_SIZE;
}

static inline void* alloc_aligned_untracked(heap_t* heap, size_t size, size_t align, size_t offset,
                                            bool zero) {
  if (unlikely((offset & (align - 1)) != 0))
    return alloc_at_offset(heap, size, align, offset, zero);
  size = size_if_aligned(size);
  if (is_large_if_aligned(size, align)) return large_alloc(heap, size, align, zero);
  size = size_of_multiple(size, align);
  return zero ? alloc_zeroed_untracked(heap, size) : alloc_any_untracked(heap, size);
}

INTERNAL size_t alloc_aligned_class(size_t size, size_t align, size_t offset) {
  if ((offset & (align - 1)) != 0)
    return MI_SECURE > 0 ? CLASS_LARGE : alloc_any_class(size_at_offset(size, align));
  size = size_if_aligned(size);
  return is_large_if_aligned(size, align) ? CLASS_LARGE
                                          : alloc_any_class(size_of_multiple(size, align));
}

INTERNAL void* alloc_aligned_in(heap_t* heap, size_t size, size_t align, size_t offset, bool zero) {
  if (unlikely(!is_power_of_two(align))) return bad_alignment(align);
  track_enter();
  void* p = alloc_aligned_untracked(heap, size, align, offset, zero);
  track_leave();
  return alloc_tracked(p, size, zero);
}

void* mi_malloc_aligned_at(size_t size, size_t alignment, size_t offset) mi_attr_noexcept {
  return alloc_aligned_in(heap_default, size, alignment, offset, false);
}
void* mi_malloc_aligned(size_t size, size_t alignment) mi_attr_noexcept {
  return alloc_aligned(size, alignment);
}
void* mi_zalloc_aligned_at(size_t size, size_t alignment, size_t offset) mi_attr_noexcept {
  return alloc_aligned_in(heap_default, size, alignment, offset, true);
}
void* mi_zalloc_aligned(size_t size, size_t alignment) mi_attr_noexcept {
  return alloc_aligned_in(heap_default, size, alignment, 0, true);
}
void* mi_calloc_aligned_at(size_t count, size_t size, size_t alignment,
                           size_t offset) mi_attr_noexcept {
  size_t total;
  if (!multiply(count, size, &total)) return alloc_overflow(count, size);
  return alloc_aligned_in(heap_default, total, alignment, offset, true);
}
void* mi_calloc_aligned(size_t count, size_t size, size_t alignment) mi_attr_noexcept {
  return mi_calloc_aligned_at(count, size, alignment, 0);
}

/* ---- from a heap that the caller names ---- */

void* mi_heap_malloc_aligned_at(mi_heap_t* heap, size_t size, size_t alignment,
                                size_t offset) mi_attr_noexcept {
  return alloc_aligned_in(heap_named(heap), size, alignment, offset, false);
}
void* mi_heap_malloc_aligned(mi_heap_t* heap, size_t size, size_t alignment) mi_attr_noexcept {
  return alloc_aligned_in(heap_named(heap), size, alignment, 0, false);
}
void* mi_heap_zalloc_aligned_at(mi_heap_t* heap, size_t size, size_t alignment,
                                size_t offset) mi_attr_noexcept {
  return alloc_aligned_in(heap_named(heap), size, alignment, offset, true);
}
void* mi_heap_zalloc_aligned(mi_heap_t* heap, size_t size, size_t alignment) mi_attr_noexcept {
  return alloc_aligned_in(heap_named(heap), size, alignment, 0, true);
}
void* mi_heap_calloc_aligned_at(mi_heap_t* heap, size_t count, size_t size, size_t alignment,
                                size_t offset) mi_attr_noexcept {
  size_t total;
  if (!multiply(count, size, &total)) return alloc_overflow(count, size);
  return alloc_aligned_in(heap_named(heap), total, alignment, offset, true);
}
void* mi_heap_calloc_aligned(mi_heap_t* heap, size_t count, size_t size,
                             size_t alignment) mi_attr_noexcept {
  return mi_heap_calloc_aligned_at(heap, count, size, alignment, 0);
}
