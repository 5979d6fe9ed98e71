/* realloc.c - realloc and related functions.
 *
 * Always:  a failure leaves the old block unchanged; the result has the requested alignment.
 * Threads: any; the caller holds the block.
 */
#include "realloc.h"
#include "aligned.h"
#include "block_size.h"
#include "../heap/heap_free.h"
#include "../heap/large_move.h"
#include "../thread/tick.h"

enum {
  RESIZE_ZERO = 1, /* gained bytes read as zero */
  RESIZE_FREES = 2 /* a block that is resized to 0 bytes is freed: NULL */
};

typedef struct resize_s {
  heap_t* heap; /* where a new block comes from */
  size_t align; /* power of two; p + offset is aligned to it */
  size_t offset;
  unsigned how; /* RESIZE_ bits */
} resize_t;

static bool is_aligned(const void* p, const resize_t* r) {
  return (((uintptr_t)p + r->offset) & (r->align - 1)) == 0;
}

#define EMPTY_ALIGN 8 /* alignment of blocks of size 0 */

static void* alloc_for(size_t size, const resize_t* r) {
  if (r->offset == 0 && r->align <= (size == 0 ? EMPTY_ALIGN : DEFAULT_ALIGN)) {
    if (size > 0 && r->align <= 8 && r->heap == heap_default) return mi_malloc_align8(size);
    return malloc_in(r->heap, size);
  }
  return malloc_aligned_in(r->heap, size, r->align, r->offset, false);
}

/* The class that alloc_for() would allocate from. */
static size_t class_for(size_t size, const resize_t* r) {
  if (r->offset != 0 || r->align > (size == 0 ? EMPTY_ALIGN : DEFAULT_ALIGN))
    return class_of_aligned(size, r->align, r->offset);
  return size > 0 && r->align <= 8 ? class_of_align8(size) : class_of_malloc(size);
}

static void* move_or_report(heap_t* heap, page_t* page, size_t newsize, size_t align) {
  if (newsize > ALLOC_MAX) return large_malloc(heap, newsize, align, false); /* reports */
  void* p = large_move(heap, page, newsize, align);
  if (p != NULL) return p;
  thread_collect_for_oom();
  p = large_move(heap, page, newsize, align);
  return p != NULL ? p : log_out_of_memory(newsize);
}

/* Resizes a large block that stays large: in place, or by large_move. */
static void* resize_large(page_t* page, void* p, size_t newsize, const resize_t* r) {
  size_t old = block_usable(page, p); /* the bytes after it may not be zero */
  track_open(p, old);
  if (SECURE_CANARIES) { /* the end moves: padding and canary become zero */
    memset((char*)p + old, 0, block_room(page, p) - old);
    canary_clear(page, p);
  }
  if (!is_aligned(p, r) || !large_resize(page, newsize)) {
    (void)track_free(p, old);
    track_open(p, old);
    void* q = move_or_report(r->heap, page, newsize, r->align);
    if (q == NULL) {
      canary_write(page, p, old);
      return NULL;
    }
    p = q;
    page = map_descriptor(p);
    (void)finish_block(p, newsize, true);
  }
  soft_limit_check();
  size_t room = block_room(page, p);
  track_open(p, room);
  if ((r->how & RESIZE_ZERO) != 0 && room > old) memset((char*)p + old, 0, room - old);
  return finish_resized(page, p, newsize);
}

/* True when the block must move, so can_stay need not be asked. A request of at most half the block
 * has a smaller class, and a request above the block has a larger one. Exceptions are the smallest
 * blocks, alignments that need a multiple, and size 0. With canaries a block serves fewer sizes,
 * and this does not hold. */
static inline bool is_usual(const page_t* page, size_t newsize, const resize_t* r) {
  return !SECURE_CANARIES && page_class(page) != CLASS_LARGE &&
         page->block_size > max_size(r->align, DEFAULT_ALIGN) && newsize > 0 && r->offset == 0;
}

/* True when the request fits and a new block would be no smaller. */
static bool can_stay(page_t* page, const void* p, size_t newsize, const resize_t* r) {
  size_t cls = class_for(newsize, r);
  return newsize <= block_room(page, p) && is_aligned(p, r) && cls != CLASS_LARGE &&
         class_block_size(cls) >= page->block_size;
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
    (void)finish_resized(to, q, newsize);
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
  return finish_resized(page, p, newsize);
}

static inline void* resize(void* p, size_t newsize, const resize_t* r) {
  if (unlikely(p == NULL)) {
    if ((r->how & RESIZE_ZERO) == 0) return alloc_for(newsize, r);
    return malloc_aligned_in(r->heap, newsize, max_size(r->align, DEFAULT_ALIGN), r->offset, true);
  }
  page_t* page = block_page(p, "realloc");
  if (unlikely(page == NULL)) return NULL;
  /* Stays in place while it fits and at most half is wasted. */
  if (block_serves(block_room(page, p), newsize) && newsize > 0 && is_aligned(p, r))
    return finish_resized(page, p, newsize); /* with canaries, gained bytes are zero */
  return likely(is_usual(page, newsize, r)) ? resize_by_copy(page, p, newsize, r)
                                            : resize_unusual(page, p, newsize, r);
}

/* A block that stays in place may be aligned to 8 bytes only. A new block is aligned to 16 bytes at
 * any size, as mi_malloc promises. A block that was allocated with an offset may lie at any
 * address, and moves. */
static inline void* resize_default(heap_t* heap, void* p, size_t newsize, unsigned how) {
  if (!SECURE_CANARIES && p != NULL && newsize < DEFAULT_ALIGN && newsize > 0 &&
      ((uintptr_t)p & (sizeof(void*) - 1)) == 0) {
    page_t* page = block_page(p, "realloc");
    if (page == NULL) return NULL;
    size_t room = block_room(page, p);
    if (block_serves(room, newsize) || (newsize <= room && page->block_size <= DEFAULT_ALIGN))
      return finish_resized(page, p, newsize);
  }
  size_t align = newsize == 0 ? EMPTY_ALIGN : DEFAULT_ALIGN;
  return resize(p, newsize, &(resize_t){heap, align, 0, how});
}

/* ---- the common case: a block of a class, for the default heap ---- */

/* Growth by a small step is often one of many: the new block gets a quarter more. A smaller block
 * is copied quickly, and there may be very many. */
#define SLACK_FROM ((size_t)512)
static inline size_t with_slack(size_t room, size_t newsize) {
  if (room < SLACK_FROM || newsize - room > room / 8) return newsize;
  return min_size(newsize + newsize / 4, MEDIUM_MAX);
}

static NOINLINE void* move_block(page_t* page, void* p, size_t newsize, size_t align) {
  heap_t* heap = heap_default;
  size_t size = newsize, kept = page->block_size;
  if (newsize > kept)
    size = with_slack(kept, newsize);
  else
    kept = newsize;
  void* q = likely(size <= SMALL_MAX) ? malloc_rounded(heap, round_up(size, align))
                                      : malloc_above_small(heap, size);
  if (unlikely(q == NULL)) return NULL;
  memcpy(q, p, kept);
  if (MI_DEBUG > 0 || unlikely(owner_of(page) != (uintptr_t)heap))
    mi_free(p);
  else if (unlikely(push_local(page, p)))
    heap_page_counted_down(heap, page);
  return q;
}

typedef void* resize_fn(void* p, size_t newsize);

/* One look-up answers, and serves the copy and the free. `otherwise` takes what is not common:
 * large blocks and sizes, tiny sizes, interior pointers and slices, no block at all. From
 * DEFAULT_ALIGN on a new size that is not served in place has another class, see is_usual. */
ALWAYS_INLINE void* resize_common(void* p, size_t newsize, size_t align, resize_fn* otherwise) {
  if (MI_SECURE > 0 || MI_TRACK || unlikely(!map_reaches(p))) return otherwise(p, newsize);
  page_t* page = map_descriptor(p);
  /* An abandoned page keeps the flag, but its owner word has no OWNER_SLOW. */
  if (unlikely(!owner_is_of_blocks(owner_of(page)) || page_has_flag(page, PAGE_INTERIOR)))
    return otherwise(p, newsize);
  size_t room = page->block_size;
  if (room - newsize <= room / 2 && ((uintptr_t)p & (align - 1)) == 0) return p;
  if (unlikely(newsize - DEFAULT_ALIGN > MEDIUM_MAX - DEFAULT_ALIGN)) return otherwise(p, newsize);
  return move_block(page, p, newsize, newsize > ALIGN8_MAX ? DEFAULT_ALIGN : align);
}

static NOINLINE void* realloc_unusual(void* p, size_t newsize) {
  return resize_default(heap_default, p, newsize, 0);
}
void* mi_realloc(void* p, size_t newsize) mi_attr_noexcept {
  return resize_common(p, newsize, DEFAULT_ALIGN, &realloc_unusual);
}

#if MI_MALLOC_OVERRIDE && OS_LIKE_GLIBC
static NOINLINE void* realloc_or_free_unusual(void* p, size_t newsize) {
  return resize_default(heap_default, p, newsize, RESIZE_FREES);
}
INTERNAL void* realloc_or_free(void* p, size_t newsize) {
  return resize_common(p, newsize, DEFAULT_ALIGN, &realloc_or_free_unusual);
}
#endif

static NOINLINE void* realloc_align8_unusual(void* p, size_t newsize) {
  return resize(p, newsize, &(resize_t){heap_default, 8, 0, 0});
}
void* mi_realloc_align8(void* p, size_t newsize) mi_attr_noexcept {
  return resize_common(p, newsize, 8, &realloc_align8_unusual);
}

void* mi_expand(void* p, size_t newsize) mi_attr_noexcept {
  if (p == NULL) return NULL;
  page_t* page = block_page(p, "expand");
  if (page == NULL) return NULL;
  size_t room = block_room(page, p);
  if (newsize > room || (SECURE_CANARIES && room - newsize > MEDIUM_MAX)) return NULL;
  return finish_resized(page, p, newsize);
}

/* ---- aligned ---- */

static void* resize_aligned(heap_t* heap, void* p, size_t newsize, size_t align, size_t offset,
                            bool zero) {
  if (!is_power_of_two(align))
    return malloc_aligned_in(heap, newsize, align, offset, zero); /* reports */
  /* Every block has at least the alignment of a pointer. */
  unsigned how = zero ? RESIZE_ZERO : 0;
  if (align <= sizeof(void*) && offset == 0) return resize_default(heap, p, newsize, how);
  return resize(p, newsize, &(resize_t){heap, align, offset, how});
}

static void* recalloc_aligned(heap_t* heap, void* p, size_t count, size_t size, size_t align,
                              size_t offset) {
  size_t total;
  if (!multiply(count, size, &total)) return array_overflow(count, size);
  return resize_aligned(heap, p, total, align, offset, true);
}

DEFINE_BOTH(void*, realloc_aligned_at, (void* p, size_t newsize, size_t alignment, size_t offset),
            resize_aligned(heap, p, newsize, alignment, offset, false))
DEFINE_BOTH(void*, realloc_aligned, (void* p, size_t newsize, size_t alignment),
            resize_aligned(heap, p, newsize, alignment, 0, false))
DEFINE_BOTH(void*, rezalloc_aligned_at, (void* p, size_t newsize, size_t alignment, size_t offset),
            resize_aligned(heap, p, newsize, alignment, offset, true))
DEFINE_BOTH(void*, rezalloc_aligned, (void* p, size_t newsize, size_t alignment),
            resize_aligned(heap, p, newsize, alignment, 0, true))
DEFINE_BOTH(void*, recalloc_aligned_at,
            (void* p, size_t newcount, size_t size, size_t alignment, size_t offset),
            recalloc_aligned(heap, p, newcount, size, alignment, offset))
DEFINE_BOTH(void*, recalloc_aligned, (void* p, size_t newcount, size_t size, size_t alignment),
            recalloc_aligned(heap, p, newcount, size, alignment, 0))
DEFINE_BOTH(void*, rezalloc, (void* p, size_t newsize),
            resize_default(heap, p, newsize, RESIZE_ZERO))
DEFINE_BOTH(void*, recalloc, (void* p, size_t newcount, size_t size),
            recalloc_aligned(heap, p, newcount, size, 1, 0))

/* ---- without an alignment ---- */

void* mi_heap_realloc(mi_heap_t* heap, void* p, size_t newsize) mi_attr_noexcept {
  return resize_default(heap_named(heap), p, newsize, 0);
}

static inline void* realloc_in(heap_t* heap, void* p, size_t newsize) {
  return heap == heap_default ? mi_realloc(p, newsize) : resize_default(heap, p, newsize, 0);
}

static inline void* reallocn_in(heap_t* heap, void* p, size_t count, size_t size) {
  size_t total;
  return multiply(count, size, &total) ? realloc_in(heap, p, total) : array_overflow(count, size);
}

static inline void* reallocf_in(heap_t* heap, void* p, size_t newsize) {
  void* q = realloc_in(heap, p, newsize);
  if (q == NULL && p != NULL) mi_free(p);
  return q;
}

DEFINE_BOTH(void*, reallocn, (void* p, size_t count, size_t size),
            reallocn_in(heap, p, count, size))
DEFINE_BOTH(void*, reallocf, (void* p, size_t newsize), reallocf_in(heap, p, newsize))
