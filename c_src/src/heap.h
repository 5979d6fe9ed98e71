/* heap.h - the pages that one owner allocates from, and the free lists that its fast path pops. */
#ifndef MI_HEAP_H
#define MI_HEAP_H

#include "base.h"
#include "page.h"
#include "quarantine.h"
#include "unowned.h"

/* Pages of one class. `current` is the page whose free list is detached into the heap's slot;
 * the queue holds the other pages that the heap owns, oldest first. */
typedef struct queue_s {
  page_t* current;
  page_t* first;
  page_t* last;
  uint8_t list;             /* LIST_ bits of the detached list */
  uint32_t trim_mark;       /* low bits of the slot when the list was last looked after */
  _Atomic(size_t) detached; /* blocks that were detached and not put back, over time */
} queue_t;

enum {
  LIST_CARVED = 1, /* carved and never used: what is left lies in a row up to the page's capacity */
  LIST_ZERO = 2    /* and from memory that was zero */
};

/* A heap record. Type-stable: reused for heaps of its kind, never unmapped; its address with flags
 * is the owner word of pages, so it is aligned to 64 bytes. Written by its thread only, but for
 * what is atomic or says otherwise.
 *
 * Two kinds. A thread has one backing heap: it gives up pages that are full, so that whoever frees
 * their blocks can use them. First-class heaps (`keeps`) are the program's: whatever pages they get
 * stay theirs, full or not, and they take over nobody else's, so that they can be destroyed. */
typedef struct mi_heap_s {
  block_t* slot[CLASS_COUNT]; /* the detached list of each class; first, so that the fast path
                                 needs no offset */
  queue_t queue[CLASS_COUNT];
  uint64_t classes[(CLASS_COUNT + 63) / 64]; /* bits of those that have had a page */
  size_t queued_slices;                      /* in all queues together */
  size_t queued_max;                         /* bound of it, see QUEUED_MIN */
  unsigned long long heartbeat;              /* entries into the generic path */
  size_t tick_mask;                          /* a tick when the heartbeat has none of these bits */
  bool in_deferred;                          /* inside the deferred-free callback (backing heaps) */
  bool asks_program;                         /* inside an aligned function of the program, too */
  size_t trim_class;                         /* where the next trim goes on */
  long guarded_in;                           /* allocations until a guarded one, see guarded.h */
  _Atomic(int) busy;           /* inside a slow path: not to be touched by the child of a fork */
  _Atomic(size_t) large_count; /* allocations that are pages of their own */
  /* Rarely written: other threads look at these. */
  _Alignas(64) _Atomic(struct mi_heap_s*) backing; /* of its thread; NULL: no heap lives here */
  _Atomic(uint32_t) generation; /* of the process that the heap lives in, see thread.c */
  bool keeps;                   /* a first-class heap */
  bool no_destroy;
  uint8_t tag;
  place_t place;         /* where its pages come from */
  struct mi_heap_s* own; /* backing heaps: the thread's first-class heaps */
  struct mi_heap_s* own_next;
  struct mi_heap_s* own_prev; /* NULL: the first one */
  struct mi_heap_s* next;     /* in the list of live heaps, or of unused records */
  struct mi_heap_s* prev;
  page_t* large; /* first-class heaps: their large blocks; under large_lock */
#if SECURE_HOLDS
  quarantine_t quarantine; /* backing heaps */
#endif
} heap_t;

/* The heap of the thread that `heap` belongs to; NULL for what stands in for no heap, for the late
 * heap, and for unused records. Relaxed: only the thread itself ever finds its own there. */
static inline heap_t* heap_backing(heap_t* heap) { return load_relaxed(&heap->backing); }

/* Partly used pages that a heap keeps for itself beside the current ones, in slices; of what others
 * free in those it alone has the use. Never fewer than this; more up to half of what the process
 * has in use, for a heap that may not keep the pages it works with pays for each free in them as if
 * it were another thread's: replacing random blocks of 40 MiB in each of two threads took 2.9 times
 * as long with this as the bound for all. */
#define QUEUED_MIN ((size_t)64)

/* The first class that has had a page in the heap, from `class` on; CLASS_COUNT: none. */
static inline size_t heap_next_class(const heap_t* heap, size_t class) {
  for (size_t w = class / 64; w < sizeof(heap->classes) / sizeof(heap->classes[0]); w++) {
    uint64_t bits = heap->classes[w] >> (class % 64);
    if (bits != 0) return class + (size_t)__builtin_ctzll(bits);
    class = (w + 1) * 64;
  }
  return CLASS_COUNT;
}
#define FOR_CLASSES(heap, class)                                                                   \
  for (size_t class = heap_next_class(heap, 0); class < CLASS_COUNT;                               \
       class = heap_next_class(heap, class + 1))

/* Hands the first block of a list of the class's current page out; the rest becomes the detached
 * list. */
static inline void* heap_hand_out(heap_t* heap, size_t class, block_t* list) {
  page_t* page = heap->queue[class].current;
  block_hand_out(page, list, &heap->slot[class]);
  return list;
}

/* The first block of a detached list; NULL if the list is empty. */
static inline void* heap_pop(heap_t* heap, size_t class) {
  block_t* block = heap->slot[class];
  return likely(block != NULL) ? heap_hand_out(heap, class, block) : NULL;
}
/* Allocates from an empty list: takes over what was freed, or carves, or claims, or gets a page.
 * NULL when memory runs out (nothing is reported). */
INTERNAL void* heap_alloc_slow(heap_t* heap, size_t class);
/* A page in a queue or current whose last block was freed by its owner. */
INTERNAL void heap_page_emptied(heap_t* heap, page_t* page);
/* A free of this heap won an unowned page for it. */
INTERNAL void heap_adopt(heap_t* heap, page_t* page);
/* True when the heap may take one more partly used page. While there is no other thread there is
 * nobody to leave pages to; what is too much when one comes is shed, see heap_shed. */
static inline bool heap_wants(const heap_t* heap, const page_t* page) {
  return heap->queued_slices + page_slices(page) <= heap->queued_max || heap->keeps ||
         os_is_single_threaded();
}
/* A page of a first-class heap that was full is worth a look again: it is tried first now. */
INTERNAL void heap_page_not_full(heap_t* heap, page_t* page);
/* Sets the bound anew, and gives up some pages if there are too many. */
INTERNAL void heap_shed(heap_t* heap);
/* Gives up queued pages until at most `slices` are queued. */
INTERNAL void heap_shed_to(heap_t* heap, size_t slices);
/* Puts the detached list of a class back into its page, but for the first `keep` blocks. */
INTERNAL void heap_cut_list(heap_t* heap, size_t class, size_t keep);
/* Puts all detached lists back into their pages, so that all counts are exact. */
INTERNAL void heap_return_lists(heap_t* heap);
/* Takes in remote frees and releases empty pages. */
INTERNAL void heap_collect(heap_t* heap);
/* Puts the detached list of a class back, and releases its current page if that is empty. */
INTERNAL void heap_trim_class(heap_t* heap, size_t class);
/* Gives up every page; `to` (may be NULL) takes over those that it wants. The heap owns none
 * afterwards. */
INTERNAL void heap_abandon(heap_t* heap, heap_t* to);
/* The same for about `*pages` pages, which it counts down; true when the heap owns none any more.
 * In the child of a fork also for a heap whose thread is not there. */
INTERNAL bool heap_abandon_some(heap_t* heap, heap_t* to, size_t* pages);
/* Releases every page of a first-class heap, with the blocks in it. */
INTERNAL void heap_release_pages(heap_t* heap);
/* Looks after the pages of one class that the heap keeps although they were full. */
INTERNAL void heap_trim_kept(heap_t* heap, size_t class);
/* In free.c, which lies above: frees what the heap's thread has in quarantine. */
#if SECURE_HOLDS
INTERNAL void heap_let_held_go(heap_t* heap);
static inline void heap_look_at_quarantine(heap_t* backing) {
  quarantine_look(&backing->quarantine);
}
static inline void heap_lose_quarantine(heap_t* heap) { quarantine_lose(&heap->quarantine); }
static inline void heap_quarantine_after_fork(heap_t* backing) {
  quarantine_after_fork(&backing->quarantine);
}
#else
static inline void heap_let_held_go(heap_t* heap) { (void)heap; }
static inline void heap_look_at_quarantine(heap_t* backing) { (void)backing; }
static inline void heap_lose_quarantine(heap_t* heap) { (void)heap; }
static inline void heap_quarantine_after_fork(heap_t* backing) { (void)backing; }
#endif
#if MI_DEBUG >= 2
INTERNAL bool heap_owns_nothing(const heap_t* heap);
#endif

#define TICK_EVERY 32 /* entries into the generic path; a power of two */
#define LIST_MIN 40   /* a list shorter than this is topped up with carved blocks */

/* The shortest way: takes over what the owner has freed in the current page. NULL if there is
 * nothing, or too little, or if it is time to look after other things. */
static inline void* heap_take_local(heap_t* heap, size_t class) {
  queue_t* q = &heap->queue[class];
  page_t* page = q->current;
  /* The page first: the heaps that stand in for none have no page, and are never written to. */
  if (unlikely(page == NULL || (++heap->heartbeat & heap->tick_mask) == 0)) return NULL;
  if (secure_order_is_old(page)) return NULL;
  uint32_t capacity = page->capacity, count = capacity - page_used(page);
  if (unlikely(count < LIST_MIN) && (count == 0 || capacity < page->topped_up)) return NULL;
  block_t* list = page->local;
  page->local = NULL;
  compiler_fence(); /* a fork must not find the blocks in both places */
  page_set_used(page, capacity);
  q->list = 0;
  bump_counter(&q->detached, count);
  compiler_fence(); /* nor take this list for a carved one */
  return heap_hand_out(heap, class, list);
}

/* The heap's thread is inside a slow path. Compiler fences only: a fork stops the thread at some
 * point of its program order. */
static inline void heap_enter(heap_t* heap) {
  store_relaxed(&heap->busy, load_relaxed(&heap->busy) + 1);
  compiler_fence();
}
static inline void heap_leave(heap_t* heap) {
  compiler_fence();
  store_relaxed(&heap->busy, load_relaxed(&heap->busy) - 1);
}

#endif
