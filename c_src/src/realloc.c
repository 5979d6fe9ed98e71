/* realloc.c - realloc and its kin.
 *
 * Owns:    nothing.
 * Always:  a failure leaves the old block as it was; what is returned is aligned as asked for.
 * Threads: any; the caller holds the block.
 * Uses:    alloc.h, aligned.h, free.h, large.h.          Used by: the program, posix, cxx.
 */
#include "aligned.h"
#include "alloc.h"
#include "free.h"

enum {
  RESIZE_ZERO = 1, /* what is gained reads as zero */
  RESIZE_FREES = 2 /* a block that is resized to 0 bytes is freed: NULL */
};

typedef struct resize_s {
  heap_t* heap; /* where a new block comes from */
  size_t align; /* power of two; of p + offset */
  size_t offset;
  unsigned how; /* RESIZE_ bits */
} resize_t;

static bool is_aligned(const void* p, const resize_t* r) {
  return (((uintptr_t)p + r->offset) & (r->align - 1)) == 0;
}

#define EMPTY_ALIGN 8 /* that of blocks of size 0 */

static void* alloc_for(size_t size, const resize_t* r) {
  if (r->offset == 0 && r->align <= (size == 0 ? EMPTY_ALIGN : DEFAULT_ALIGN)) {
    if (size > 0 && r->align <= 8 && r->heap == heap_default) return mi_malloc_align8(size);
    return alloc_any_in(r->heap, size);
  }
  return alloc_aligned_in(r->heap, size, r->align, r->offset, false);
}

/* The class of what alloc_for() would allocate. */
static size_t class_for(size_t size, const resize_t* r) {
  if (r->offset != 0 || r->align > (size == 0 ? EMPTY_ALIGN : DEFAULT_ALIGN))
    return alloc_aligned_class(size, r->align, r->offset);
  return size > 0 && r->align <= 8 ? alloc_align8_class(size) : alloc_any_class(size);
}

/* Large blocks that stay large are resized where they are, or moved without a copy. */
static void* resize_large(page_t* page, void* p, size_t newsize, const resize_t* r) {
  size_t old = block_usable(page, p); /* what lies behind it may be no zero */
  track_open(p, old);
  if (SECURE_SEALS) { /* wherever its end lies afterwards */
    memset((char*)p + old, 0, block_room(page, p) - old);
    secure_unseal(page, p);
  }
  if (!is_aligned(p, r) || !large_resize(page, newsize)) {
#if MI_TRACK
    (void)track_free(p, old);
    track_open(p, old);
#endif
    void* q = large_move(r->heap, page, newsize, r->align);
    if (q == NULL) {
      secure_seal(page, p, old);
      return NULL;
    }
    p = q;
    page = map_slot(p);
    (void)alloc_tracked(p, newsize, true);
  }
  size_t room = block_room(page, p);
  track_open(p, room);
  if ((r->how & RESIZE_ZERO) != 0 && room > old) memset((char*)p + old, 0, room - old);
  return alloc_retracked(page, p, newsize);
}

/* A block that is at most half used, or too small, moves: between the half of a block and the whole
 * there is a class, but for the smallest blocks, where a multiple of the alignment is wanted, and
 * for size 0. With seals less is wasted. */
static inline bool is_usual(const page_t* page, size_t newsize, const resize_t* r) {
  return !SECURE_SEALS && page_class(page) != CLASS_LARGE &&
         page->block_size > max_size(r->align, DEFAULT_ALIGN) && newsize > 0 && r->offset == 0;
}

/* A new block would be no smaller. */
static bool can_stay(page_t* page, const void* p, size_t newsize, const resize_t* r) {
  size_t class = class_for(newsize, r);
  return newsize <= block_room(page, p) && is_aligned(p, r) && class != CLASS_LARGE &&
         class_block_size(class) >= page->block_size;
}

static NOINLINE void* resize_by_copy(page_t* page, void* p, size_t newsize, const resize_t* r) {
  void* q = alloc_for(newsize, r);
  if (q == NULL) return NULL;
  size_t old = block_usable(page, p), kept = min_size(old, newsize);
  track_open(p, old);
  memcpy(q, p, kept);
  if ((r->how & RESIZE_ZERO) != 0) {
    page_t* to = map_page_checked(q);
    size_t room = block_room(to, q);
    track_open(q, room);
    if (room > kept) memset((char*)q + kept, 0, room - kept);
    (void)alloc_retracked(to, q, newsize);
  } else if (newsize == 0 && !SECURE_GUARDS) {
    *(char*)q = 0;
  }
  mi_free(p);
  return q;
}

static NOINLINE void* resize_unusual(page_t* page, void* p, size_t newsize, const resize_t* r) {
  if (page_class(page) == CLASS_LARGE && p == page_start(page) && newsize > 0 && r->offset == 0 &&
      class_for(newsize, r) == CLASS_LARGE)
    return resize_large(page, p, newsize, r);
  if (newsize == 0 && (r->how & RESIZE_FREES) != 0) {
    mi_free(p);
    return NULL;
  }
  if (!can_stay(page, p, newsize, r)) return resize_by_copy(page, p, newsize, r);
  if (newsize == 0 && !SECURE_GUARDS) memset(p, 0, block_room(page, p));
  return alloc_retracked(page, p, newsize);
}

static inline void* resize(void* p, size_t newsize, const resize_t* r) {
  if (unlikely(p == NULL)) {
    if ((r->how & RESIZE_ZERO) == 0) return alloc_for(newsize, r);
    return alloc_aligned_in(r->heap, newsize, max_size(r->align, DEFAULT_ALIGN), r->offset, true);
  }
  page_t* page = block_page(p, "realloc");
  if (unlikely(page == NULL)) return NULL;
  /* In place while it fits and at most half is wasted. */
  if (block_serves(block_room(page, p), newsize) && newsize > 0 && is_aligned(p, r))
    return alloc_retracked(page, p, newsize); /* with canaries, what it gains is zero */
  return likely(is_usual(page, newsize, r)) ? resize_by_copy(page, p, newsize, r)
                                            : resize_unusual(page, p, newsize, r);
}

/* A block that is kept in place may have been given out with an alignment of 8 only; a new one
 * always has 16, also for small sizes, as mi_malloc promises. One whose offset was aligned may lie
 * anywhere, and moves. */
static inline void* resize_default(heap_t* heap, void* p, size_t newsize, unsigned how) {
  if (!SECURE_SEALS && p != NULL && newsize < DEFAULT_ALIGN && newsize > 0 &&
      ((uintptr_t)p & (sizeof(void*) - 1)) == 0) {
    page_t* page = block_page(p, "realloc");
    if (page == NULL) return NULL;
    size_t room = block_room(page, p);
    if (block_serves(room, newsize) || (newsize <= room && page->block_size <= DEFAULT_ALIGN))
      return alloc_retracked(page, p, newsize);
  }
  size_t align = newsize == 0 ? EMPTY_ALIGN : DEFAULT_ALIGN;
  return resize(p, newsize, &(resize_t){heap, align, 0, how});
}

void* mi_realloc(void* p, size_t newsize) mi_attr_noexcept {
  return resize_default(heap_default, p, newsize, 0);
}

#if MI_MALLOC_OVERRIDE && OS_LIKE_GLIBC
INTERNAL void* realloc_or_free(void* p, size_t newsize) {
  return resize_default(heap_default, p, newsize, RESIZE_FREES);
}
#endif

void* mi_realloc_align8(void* p, size_t newsize) mi_attr_noexcept {
  return resize(p, newsize, &(resize_t){heap_default, 8, 0, 0});
}

void* mi_rezalloc(void* p, size_t newsize) mi_attr_noexcept {
  return resize_default(heap_default, p, newsize, RESIZE_ZERO);
}

void* mi_reallocn(void* p, size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  return multiply(count, size, &total) ? mi_realloc(p, total) : alloc_overflow(count, size);
}

void* mi_recalloc(void* p, size_t newcount, size_t size) mi_attr_noexcept {
  size_t total;
  return multiply(newcount, size, &total) ? mi_rezalloc(p, total) : alloc_overflow(newcount, size);
}

void* mi_reallocf(void* p, size_t newsize) mi_attr_noexcept {
  void* q = mi_realloc(p, newsize);
  if (q == NULL && p != NULL) mi_free(p);
  return q;
}

void* mi_expand(void* p, size_t newsize) mi_attr_noexcept {
  if (p == NULL) return NULL;
  page_t* page = block_page(p, "expand");
  if (page == NULL) return NULL;
  size_t room = block_room(page, p);
  if (newsize > room || (SECURE_SEALS && room - newsize > MEDIUM_MAX)) return NULL;
  return alloc_retracked(page, p, newsize);
}

/* ---- aligned ---- */

static void* resize_aligned(heap_t* heap, void* p, size_t newsize, size_t align, size_t offset,
                            bool zero) {
  if (!is_power_of_two(align))
    return alloc_aligned_in(heap, newsize, align, offset, zero); /* reports */
  /* As little as a pointer's alignment every block has. */
  unsigned how = zero ? RESIZE_ZERO : 0;
  if (align <= sizeof(void*) && offset == 0) return resize_default(heap, p, newsize, how);
  return resize(p, newsize, &(resize_t){heap, align, offset, how});
}

void* mi_realloc_aligned_at(void* p, size_t newsize, size_t alignment,
                            size_t offset) mi_attr_noexcept {
  return resize_aligned(heap_default, p, newsize, alignment, offset, false);
}
void* mi_realloc_aligned(void* p, size_t newsize, size_t alignment) mi_attr_noexcept {
  return resize_aligned(heap_default, p, newsize, alignment, 0, false);
}
void* mi_rezalloc_aligned_at(void* p, size_t newsize, size_t alignment,
                             size_t offset) mi_attr_noexcept {
  return resize_aligned(heap_default, p, newsize, alignment, offset, true);
}
void* mi_rezalloc_aligned(void* p, size_t newsize, size_t alignment) mi_attr_noexcept {
  return resize_aligned(heap_default, p, newsize, alignment, 0, true);
}
void* mi_recalloc_aligned_at(void* p, size_t newcount, size_t size, size_t alignment,
                             size_t offset) mi_attr_noexcept {
  size_t total;
  if (!multiply(newcount, size, &total)) return alloc_overflow(newcount, size);
  return resize_aligned(heap_default, p, total, alignment, offset, true);
}
void* mi_recalloc_aligned(void* p, size_t newcount, size_t size,
                          size_t alignment) mi_attr_noexcept {
  return mi_recalloc_aligned_at(p, newcount, size, alignment, 0);
}

/* ---- new blocks from a heap that the caller names ---- */

void* mi_heap_realloc(mi_heap_t* heap, void* p, size_t newsize) mi_attr_noexcept {
  return resize_default(heap_named(heap), p, newsize, 0);
}
void* mi_heap_rezalloc(mi_heap_t* heap, void* p, size_t newsize) mi_attr_noexcept {
  return resize_default(heap_named(heap), p, newsize, RESIZE_ZERO);
}
void* mi_heap_reallocn(mi_heap_t* heap, void* p, size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  return multiply(count, size, &total) ? mi_heap_realloc(heap, p, total)
                                       : alloc_overflow(count, size);
}
void* mi_heap_recalloc(mi_heap_t* heap, void* p, size_t newcount, size_t size) mi_attr_noexcept {
  size_t total;
  return multiply(newcount, size, &total) ? mi_heap_rezalloc(heap, p, total)
                                          : alloc_overflow(newcount, size);
}
void* mi_heap_reallocf(mi_heap_t* heap, void* p, size_t newsize) mi_attr_noexcept {
  void* q = mi_heap_realloc(heap, p, newsize);
  if (q == NULL && p != NULL) mi_free(p);
  return q;
}
void* mi_heap_realloc_aligned_at(mi_heap_t* heap, void* p, size_t newsize, size_t alignment,
                                 size_t offset) mi_attr_noexcept {
  return resize_aligned(heap_named(heap), p, newsize, alignment, offset, false);
}
void* mi_heap_realloc_aligned(mi_heap_t* heap, void* p, size_t newsize,
                              size_t alignment) mi_attr_noexcept {
  return resize_aligned(heap_named(heap), p, newsize, alignment, 0, false);
}
void* mi_heap_rezalloc_aligned_at(mi_heap_t* heap, void* p, size_t newsize, size_t alignment,
                                  size_t offset) mi_attr_noexcept {
  return resize_aligned(heap_named(heap), p, newsize, alignment, offset, true);
}
void* mi_heap_rezalloc_aligned(mi_heap_t* heap, void* p, size_t newsize,
                               size_t alignment) mi_attr_noexcept {
  return resize_aligned(heap_named(heap), p, newsize, alignment, 0, true);
}
void* mi_heap_recalloc_aligned_at(mi_heap_t* heap, void* p, size_t newcount, size_t size,
                                  size_t alignment, size_t offset) mi_attr_noexcept {
  size_t total;
  if (!multiply(newcount, size, &total)) return alloc_overflow(newcount, size);
  return resize_aligned(heap_named(heap), p, total, alignment, offset, true);
}
void* mi_heap_recalloc_aligned(mi_heap_t* heap, void* p, size_t newcount, size_t size,
                               size_t alignment) mi_attr_noexcept {
  return mi_heap_recalloc_aligned_at(heap, p, newcount, size, alignment, 0);
}
