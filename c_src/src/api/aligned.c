/* aligned.c - allocation at a given alignment.
 *
 * Always:  an alignment of up to a slice comes from a class whose block size is a multiple of it,
 *          so the address of the block is the issued pointer. Only an offset makes interior
 *          pointers.
 * Threads: any.
 */
#include "aligned.h"

/* A larger alignment with an offset is refused: the block would be mostly padding. */
#define OFFSET_ALIGN_MAX (16 * MiB)

static COLD void* bad_alignment(size_t align) {
  if (MI_DEBUG > 0) log_error(EOVERFLOW, "alignment is not usable: %zu\n", align);
  errno = EINVAL;
  return NULL;
}

/* The size of a block in which an offset can be aligned. SIZE_MAX, which the allocation refuses,
 * where the sum overflows. */
static size_t size_at_offset(size_t size, size_t align) {
  size_t total;
  return add_fits(size, align - 1, &total) ? total : SIZE_MAX;
}

/* Allocates a larger block and returns a pointer into it. */
static void* alloc_at_offset(heap_t* heap, size_t size, size_t align, size_t offset, bool zero) {
  if (align > OFFSET_ALIGN_MAX) return bad_alignment(align);
  size_t total = size_at_offset(size, align);
  /* Only its owner may mark a page, and a thread that has ended owns none. Secure builds know a
   * small block by its start only; of a large block they also know the issued pointer. Both cases
   * take a large block. */
  char* p = heap == &heap_ended || MI_SECURE > 0 ? large_malloc(heap, total, 1, zero)
            : zero                               ? zalloc_raw(heap, total)
                                                 : malloc_raw(heap, total);
  if (p == NULL) return NULL;
  size_t adjust = (0 - ((uintptr_t)p + offset)) & (align - 1);
  if (adjust == 0) return p;
  page_t* page = map_page_checked(p);
  p += adjust;
  if (page_class(page) == CLASS_LARGE) {
    large_mark(page, p);
  } else {
    /* From now on each free of a block of this page looks up the start of the block. */
    page_set_flag(page, PAGE_INTERIOR, true);
    uintptr_t owner = load_relaxed(&page->owner);
    store_relaxed(&page->owner, owner | OWNER_SLOW);
  }
  return p;
}

/* Blocks of size 0 are only 8-byte aligned. */
static inline size_t size_if_aligned(size_t size) { return size == 0 ? 1 : size; }

static inline bool is_large_if_aligned(size_t size, size_t align) {
  return align > SLICE_SIZE || size > MEDIUM_MAX - CANARY_SIZE;
}

/* The request whose class is a multiple of the alignment; at most MEDIUM_MAX. The canary is added
 * later, and the sum must be the multiple. */
static inline size_t size_of_multiple(size_t size, size_t align) {
  return round_up(size + CANARY_SIZE, max_size(align, DEFAULT_ALIGN)) - CANARY_SIZE;
}

static inline void* malloc_aligned_raw(heap_t* heap, size_t size, size_t align, size_t offset,
                                       bool zero) {
  if (unlikely((offset & (align - 1)) != 0))
    return alloc_at_offset(heap, size, align, offset, zero);
  size = size_if_aligned(size);
  if (is_large_if_aligned(size, align)) return large_malloc(heap, size, align, zero);
  size = size_of_multiple(size, align);
  return zero ? zalloc_raw(heap, size) : malloc_raw(heap, size);
}

INTERNAL size_t class_of_aligned(size_t size, size_t align, size_t offset) {
  if ((offset & (align - 1)) != 0)
    return MI_SECURE > 0 ? CLASS_LARGE : class_of_malloc(size_at_offset(size, align));
  size = size_if_aligned(size);
  return is_large_if_aligned(size, align) ? CLASS_LARGE
                                          : class_of_malloc(size_of_multiple(size, align));
}

INTERNAL void* malloc_aligned_in(heap_t* heap, size_t size, size_t align, size_t offset,
                                 bool zero) {
  if (unlikely(!is_power_of_two(align))) return bad_alignment(align);
  void* p = untracked(malloc_aligned_raw(heap, size, align, offset, zero));
  return finish_block(p, size, zero);
}

/* ---- of the default heap, and of a heap that the caller names ---- */

static inline void* calloc_aligned_in(heap_t* heap, size_t count, size_t size, size_t alignment,
                                      size_t offset) {
  size_t total;
  if (!multiply(count, size, &total)) return array_overflow(count, size);
  return malloc_aligned_in(heap, total, alignment, offset, true);
}

DEFINE_BOTH(void*, malloc_aligned, (size_t size, size_t alignment),
            malloc_aligned(heap, size, alignment))
DEFINE_BOTH(void*, malloc_aligned_at, (size_t size, size_t alignment, size_t offset),
            malloc_aligned_in(heap, size, alignment, offset, false))
DEFINE_BOTH(void*, zalloc_aligned_at, (size_t size, size_t alignment, size_t offset),
            malloc_aligned_in(heap, size, alignment, offset, true))
DEFINE_BOTH(void*, zalloc_aligned, (size_t size, size_t alignment),
            malloc_aligned_in(heap, size, alignment, 0, true))
DEFINE_BOTH(void*, calloc_aligned_at, (size_t count, size_t size, size_t alignment, size_t offset),
            calloc_aligned_in(heap, count, size, alignment, offset))
DEFINE_BOTH(void*, calloc_aligned, (size_t count, size_t size, size_t alignment),
            calloc_aligned_in(heap, count, size, alignment, 0))
