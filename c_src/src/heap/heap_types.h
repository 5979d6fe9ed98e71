/* heap_types.h - a heap: the pages that one owner allocates from, and the active free lists that
 * its fast path pops. */
#pragma once

#include "../page/page.h"
#include "quarantine.h"

/* Pages of one class. The blocks of the heap's active free list lie in the page `active`, unless
 * the list is *gathered*. The partial list, from `first` to `last`, has the other pages that the
 * heap owns, oldest first. Without an active page the list is *loose*: its blocks lie in a page
 * that the heap has abandoned. */
typedef struct queue_s {
  page_t* active;
  page_t* first;
  page_t* last;
  uint8_t list;              /* LIST_ bits of the active free list */
  uint8_t looks : 4;         /* how often the end of the active page's countdown counts */
  uint8_t ahead : 4;         /* never-used blocks that may be taken before the next search */
  uint8_t keeps;             /* how often an empty active page is kept */
  uint8_t keeps_next : 7;    /* and the next time */
  uint8_t may_keep : 1;      /* its slices are in `keep.empty` */
  uint32_t trim_mark;        /* low bits of the head of that list at the last trim */
  _Atomic(size_t) allocated; /* over time: blocks moved to active free lists and not returned */
} queue_t;

enum {
  LIST_EXTENDED =
      1, /* never-used blocks: the rest of the list is adjacent, up to the page's capacity */
  LIST_ZERO = 2,    /* and their memory is zero */
  LIST_GATHERED = 4 /* its blocks lie in several pages, see heap_refill.h */
};

#define LOOKS_MAX 8

/* Counts for the bound of keep.h; only the heap's thread uses them. */
typedef struct keep_s {
  size_t bytes;         /* the charges of all pages of the partial lists, an estimate */
  size_t credit;        /* bound of `bytes`: the heap's part of the process's allowance */
  size_t by_owner;      /* blocks that came back to the heap's pages, freed by its thread */
  size_t by_others;     /* and by other threads; both are halved now and then */
  ptrdiff_t claimed;    /* free blocks of claimed pages, less those that its thread freed there */
  uint32_t share;       /* of others in these frees, in 1/SHARE_ONE */
  bool loose;           /* the heap takes loose lists, see keep.h */
  uint32_t refills;     /* while it does so */
  uint32_t events;      /* pages that became sparse or empty */
  page_t* sparse;       /* the page that became sparse last, if it still is in its partial list */
  uint32_t empty;       /* slices of active pages that may be kept empty, see keep_empty_max */
  uint32_t sweep_class; /* the class after the one that the sweep is at */
  page_t* sweep_page;   /* its next page; NULL: it goes on with the next class */
  size_t sweep_bytes;   /* the charges of the pages that the sweep has left in their lists */
} keep_t;
#define SHARE_ONE 256

/* The runs of slices that a heap keeps, see kept_runs.h. Of some it may not know yet that others
 * have taken them. */
#define KEPT_RUNS 32
#define RUN_MAX 16 /* slices: 1 MiB */
typedef struct kept_runs_s {
  uint32_t slice[KEPT_RUNS];    /* the first one */
  uint8_t count[KEPT_RUNS];     /* 0: the place is empty */
  uint32_t places[RUN_MAX + 1]; /* by count: the places of such runs, a bit for each */
  uint16_t slices, most;        /* in all, and at most */
  uint8_t oldest;               /* the place that the next run gets */
  bool used;                    /* a run was taken since the last tick */
} kept_runs_t;

/* Large blocks that the heap's thread has allocated and freed, over time, and their usable bytes.
 * Relaxed: statistics. */
typedef struct large_counts_s {
  _Atomic(size_t) allocated, freed;
  _Atomic(size_t) bytes_allocated, bytes_freed;
} large_counts_t;

typedef struct page_list_s {
  page_t *first, *last;
} page_list_t;
typedef struct heap_list_s {
  struct mi_heap_s *first, *last;
} heap_list_t;

/* A heap struct. Type-stable: it is reused for heaps of its kind, and never unmapped. Its address
 * with flags is the owner word of pages, so it is aligned to 64 bytes. Only the heap's thread
 * writes it, except for atomic fields and those that say otherwise.
 *
 * There are two kinds. Each thread has one backing heap: it abandons full pages, so that the
 * threads that free their blocks can use them. (With a limit it keeps them, for it counts them.)
 * The program makes first-class heaps: they keep all their pages, full or not, and adopt no other
 * heap's pages, so that they can be destroyed. */
typedef struct mi_heap_s {
  block_t* free_list[CLASS_COUNT]; /* the active free list of each class; the first field, so that
                                      the fast path needs no offset */
  queue_t queue[CLASS_COUNT];
  uint64_t classes[(CLASS_COUNT + 63) / 64]; /* a bit for each class that ever got a page */
  size_t queued_slices;                      /* in all partial lists together */
  keep_t keep;                               /* their charges and their bound, see keep.h */
  unsigned long long heartbeat;              /* entries into the slow path */
  size_t tick_mask;                          /* a tick when the heartbeat has none of these bits */
  bool in_deferred;                          /* inside the deferred-free callback (backing heaps) */
  bool asks_program;                         /* inside an aligned function of the program, too */
  size_t trim_class;                         /* the next trim starts after this class */
  kept_runs_t runs;                          /* backing heaps */
  long guarded_in;   /* allocations until a guarded one, see guard_sampling.h */
  _Atomic(int) busy; /* inside a slow path: the child of a fork must not touch the heap */
  large_counts_t large_counts;
  /* Rarely written: other threads read these. */
  _Alignas(64) _Atomic(struct mi_heap_s*) backing; /* backing heap of its thread; NULL: unused */
  _Atomic(uint32_t) generation; /* of the process that the heap lives in, see fork.c */
  bool is_first_class;
  bool no_destroy;
  _Atomic(bool) keeps_all; /* first-class, or with a limit: keeps full pages, lists large blocks */
  _Atomic(size_t) limit;   /* bytes of its pages and large blocks; 0: none */
  uint8_t tag;
  affinity_t affinity;      /* where its pages come from */
  heap_list_t thread_heaps; /* backing heaps: the thread's first-class heaps */
  struct mi_heap_s* thread_next;
  struct mi_heap_s* thread_prev;
  struct mi_heap_s* next; /* in the list of live heaps, or of unused heap structs */
  struct mi_heap_s* prev;
  page_list_t large;           /* with `keeps_all`: its large blocks; under large_lock */
  _Atomic(size_t) large_bytes; /* of the blocks in `large`; changes under large_lock */
#if SECURE_QUARANTINE
  quarantine_t quarantine; /* backing heaps */
#endif
} heap_t;

/* The heap gives up an active page because it is empty. */
static inline void heap_active_released(heap_t* heap, queue_t* q, const page_t* page) {
  if (q->may_keep) heap->keep.empty -= (uint32_t)page_slices(page);
  q->may_keep = 0;
}

/* The backing heap of the heap's thread; NULL for heap_empty, heap_ended, the fallback heap, and
 * unused heap structs. Relaxed: a thread finds its own backing heap here only if it wrote it. */
static inline heap_t* heap_backing(heap_t* heap) { return load_relaxed(&heap->backing); }

/* Relaxed: the heap's thread writes it; another thread that frees a block sees a value at least as
 * new as the block. */
static inline bool heap_keeps_all(const heap_t* heap) { return load_relaxed(&heap->keeps_all); }

/* The first class from `cls` on that ever got a page in the heap; CLASS_COUNT if there is none. */
static inline size_t heap_next_class(const heap_t* heap, size_t cls) {
  for (size_t w = cls / 64; w < sizeof(heap->classes) / sizeof(heap->classes[0]); w++) {
    uint64_t bits = heap->classes[w] >> (cls % 64);
    if (bits != 0) return cls + lowest_bit(bits);
    cls = (w + 1) * 64;
  }
  return CLASS_COUNT;
}
#define FOR_CLASSES(heap, cls)                                                                     \
  for (size_t cls = heap_next_class(heap, 0); cls < CLASS_COUNT;                                   \
       cls = heap_next_class(heap, cls + 1))
/* True if the heap may take one more page into its partial lists. While the process has a single
 * thread the heap takes all, for no other thread could use them. The sweep of keep.c abandons the
 * excess after a second thread has started. */
static inline bool heap_wants(const heap_t* heap) {
  return heap->keep.bytes < heap->keep.credit || heap_keeps_all(heap) || os_is_single_threaded();
}

/* True if `slices` more slices keep the heap within its limit. The pages are counted only now,
 * because few heaps have a limit. */
static NOINLINE COLD bool heap_has_room(heap_t* heap, size_t slices) {
  size_t limit = load_relaxed(&heap->limit), large = load_relaxed(&heap->large_bytes);
  if (limit == 0) return true;
  slices += heap->queued_slices;
  FOR_CLASSES(heap, cls) {
    page_t* page = heap->queue[cls].active;
    if (page != NULL) slices += page_slices(page);
  }
  return large <= limit && slices <= (limit - large) / SLICE_SIZE;
}
/* The same as heap_wants, for a page of another owner. */
static inline bool heap_may_adopt(heap_t* heap, const page_t* page) {
  if (unlikely(load_relaxed(&heap->limit) != 0)) return heap_has_room(heap, page_slices(page));
  return heap_wants(heap);
}

/* Allocates the first block of a list of the class's active page; the rest becomes the active free
 * list. */
static inline void* heap_allocate(heap_t* heap, size_t cls, block_t* list) {
  page_t* page = heap->queue[cls].active;
  block_allocate(page, list, &heap->free_list[cls]);
  return list;
}

/* Allocates the first block of the active free list; NULL if the list is empty. */
static inline void* heap_pop(heap_t* heap, size_t cls) {
  block_t* block = heap->free_list[cls];
  return likely(block != NULL) ? heap_allocate(heap, cls, block) : NULL;
}

/* Around a slow path of the heap's thread. Compiler fences suffice: a fork stops the thread at some
 * point of its program order. */
static inline void heap_enter(heap_t* heap) {
  store_relaxed(&heap->busy, load_relaxed(&heap->busy) + 1);
  compiler_fence();
}
static inline void heap_leave(heap_t* heap) {
  compiler_fence();
  store_relaxed(&heap->busy, load_relaxed(&heap->busy) - 1);
}
