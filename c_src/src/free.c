/* free.c - free and its kin.
 *
 * Owns:    nothing.
 * Always:  a free of the thread's own small block is one look-up, one compare and a push onto the
 *          page's local list; NULL, foreign, remote, large and interior pointers all fail the
 *          compare. errno is kept: nothing on these paths changes it but what restores it.
 * Threads: any.
 * Uses:    thread.h, large.h, page.h, unowned.h, log.h.          Used by: the program, realloc.
 */
#include "free.h"
#include "alloc.h"
#include "log.h"
#include <errno.h>

/* Relaxed load of the owner: if it is this thread's heap, this thread wrote it. */
static inline uintptr_t owner_of(page_t* page) { return load_relaxed(&page->owner); }

static COLD void invalid_pointer(const void* p, const char* what) {
#if MI_SECURE > 0
  secure_foreign(p, what);
#else
  log_error(EINVAL, "%s: pointer does not point to a block of this allocator: %p\n", what, p);
#endif
}

/* Owner: puts a block on the local list; true if it was the last one in use. */
static inline bool push_local(page_t* page, block_t* block) {
  block_link(page, block, page->local);
  compiler_fence(); /* a fork between the two must find the link written */
  page->local = block;
  compiler_fence();
  uint32_t used = page_used(page) - 1;
  page_set_used(page, used);
  return used == 0;
}

/* The page belongs to nobody or to somebody else; `home`: it was the given heap's. */
static NOINLINE void free_remote(heap_t* heap, page_t* page, block_t* block, bool home) {
  /* Copied now: after the push the page may be gone. */
  uint16_t arena = page->arena;
  size_t class = page_class(page);
  uint32_t slice = page->slice;
  bool reclaim = home && heap_wants(heap, page);
  switch (page_push_remote(page, block, reclaim)) {
  case PUSH_QUEUED:
    break;
  case PUSH_CLAIMABLE:
    unowned_offer(arena, class, slice);
    break;
  case PUSH_LAST:
    page_release(page);
    break;
  case PUSH_TAKEN:
    heap_enter(heap);
    heap_adopt(heap, page);
    heap_leave(heap);
    break;
  }
}

/* The heap of the calling thread that owns a page with this owner word; NULL if none does. Only an
 * owned page is named by the address of a heap's record, which may be read at any time; a record
 * that names our thread's backing heap was made by our thread. */
static heap_t* own_heap(heap_t* heap, uintptr_t owner) {
  heap_t* named = (heap_t*)(owner & ~(uintptr_t)OWNER_FLAGS);
  if (named == heap) return heap;
  heap_t* backing = heap_backing(heap);
  /* A thread without first-class heaps need not look at the record of another. */
  if (backing == NULL || (backing == heap && heap->own == NULL)) return NULL;
  return heap_backing(named) == backing ? named : NULL;
}

static NOINLINE void free_slow(heap_t* heap, void* p, page_t* page) {
  if (p == NULL) return;
  if (unlikely(!map_covers(p))) {
    invalid_pointer(p, "free");
    return;
  }
  uintptr_t owner = owner_of(page);
  if ((owner & OWNER_INTERIOR) != 0) {
    page = page_of_interior(p, owner);
    owner = owner_of(page);
  }
  if ((owner & OWNER_LARGE) != 0) {
    large_free(page, p);
    return;
  }
  if (unlikely(owner == 0)) {
    invalid_pointer(p, "free");
    return;
  }
  block_t* block = page_has_flag(page, PAGE_INTERIOR) ? (block_t*)page_block_of(page, p) : p;
  if ((owner & OWNER_UNOWNED) != 0) { /* our backing heap may want its page back */
    heap_t* home = heap_backing(heap);
    free_remote(home, page, block, home != NULL && owner == ((uintptr_t)home | OWNER_UNOWNED));
    return;
  }
  heap = own_heap(heap, owner);
  if (heap == NULL) {
    free_remote(NULL, page, block, false);
    return;
  }
  bool emptied = push_local(page, block);
  if (page_has_flag(page, PAGE_FULL) && page_free_count(page) >= page_claimable_count(page)) {
    heap_enter(heap);
    heap_page_not_full(heap, page);
    heap_leave(heap);
  }
  if (emptied) heap_page_emptied(heap, page);
}

/* The fast free: look up, compare, push, count. What is left to do is the result. */
typedef enum free_e { FREE_DONE, FREE_EMPTIED, FREE_OTHER } free_t;

#if defined(__x86_64__) && defined(__LP64__) && !MI_WATCHED && !defined(MI_NO_ASM) && MI_SECURE == 0
/* The same as below in fewer instructions (17 instead of 20 for the whole of free): a load that
 * an instruction does on the way is as atomic as one of its own, but compilers do not fold atomic
 * loads, and they compute the descriptor's address where indexed operands would do. */
_Static_assert(offsetof(page_t, owner) == 0 && offsetof(page_t, local) == MAP_BIAS &&
                   offsetof(page_t, used) == 2 * MAP_BIAS,
               "the displacements below");
static inline free_t free_fast(heap_t* heap, void* p, page_t** slot_of_p) {
  uintptr_t base = (uintptr_t)map_table();
  uintptr_t slot = ((uintptr_t)(uint32_t)(uintptr_t)p >> SLICE_SHIFT) * sizeof(page_t);
  __asm__("addq (%0,%1,8), %0" : "+r"(base) : "r"(map_window_of((uintptr_t)p)) : "cc");
  __asm__ goto("cmpq %0, -8(%1,%2)\n\t" /* owner */
               "jne %l[other]\n\t"
               "movq (%1,%2), %%rsi\n\t" /* local */
               "movq %%rsi, (%3)\n\t"    /* the block's link */
               "movq %3, (%1,%2)\n\t"
               "subl $1, 8(%1,%2)\n\t" /* used */
               "je %l[emptied]"
               :
               : "r"(heap), "r"(base), "r"(slot), "r"(p)
               : "rsi", "cc", "memory"
               : other, emptied);
  return FREE_DONE;
emptied:
  *slot_of_p = (page_t*)(base + slot - MAP_BIAS);
  return FREE_EMPTIED;
other:
  *slot_of_p = (page_t*)(base + slot - MAP_BIAS);
  return FREE_OTHER;
}
#else
static inline free_t free_fast(heap_t* heap, void* p, page_t** slot_of_p) {
  page_t* page = *slot_of_p = map_slot(p);
  if (unlikely(owner_of(page) != (uintptr_t)heap)) return FREE_OTHER;
  return unlikely(push_local(page, p)) ? FREE_EMPTIED : FREE_DONE;
}
#endif

#if MI_DEBUG > 0 && MI_SECURE == 0
static bool list_has(const page_t* page, const block_t* list, const block_t* block) {
  size_t most = page->capacity; /* a list that was damaged may be a circle */
  for (; list != NULL && most-- > 0; list = list->next)
    if (list == block) return true;
  return false;
}

/* True when the block is free already, as far as the calling thread can know: it lies in a page of
 * its own, and on one of that page's lists. A block in use rarely begins with a word that could be
 * a link, so the lists are rarely walked. */
static bool is_free_already(page_t* page, const void* p) {
  if (page_class(page) == CLASS_LARGE) return false; /* large_free finds out */
  uintptr_t owner = owner_of(page);
  heap_t* heap = (owner & OWNER_UNOWNED) != 0 ? NULL : own_heap(heap_default, owner);
  if (heap == NULL) return false;
  const block_t* block = (const block_t*)page_block_of(page, p);
  const char* link = (const char*)block->next;
  if (link != NULL && map_page_checked(link) != page) return false;
  const queue_t* q = &heap->queue[page_class(page)];
  /* Acquire: the links of the list, from the pushes; what is on it stays until we take it. */
  return list_has(page, page->local, block) ||
         (q->current == page && list_has(page, heap->slot[page_class(page)], block)) ||
         list_has(page, remote_list(load_acquire(map_remote(page->slice))), block);
}

/* Debug builds look before they free; false: reported, and the block is left alone. */
static bool free_is_valid(const void* p) {
  if (p == NULL) return true;
  page_t* page = map_page_checked(p);
  if (page == NULL) {
    invalid_pointer(p, "free");
    return false;
  }
  size_t blocks = page_class(page) == CLASS_LARGE ? 1 : page->reserved;
  if (!page_has_flag(page, PAGE_INTERIOR) && /* else pointers into blocks were given out */
      (page_block_of(page, p) != p || p >= (void*)(page_start(page) + blocks * page->block_size))) {
    log_error(EINVAL, "free: pointer is not the start of a block: %p\n", p);
    return false;
  }
  if (is_free_already(page, p)) {
    log_error(EAGAIN, "free: block is free already: %p of %zu bytes\n", p, page->block_size);
    return false;
  }
  return true;
}
#endif

static inline void free_block(void* p) {
  heap_t* heap = heap_default;
  page_t* page;
  switch (free_fast(heap, p, &page)) {
  case FREE_DONE:
    return;
  case FREE_EMPTIED:
    heap_page_emptied(heap, page);
    return;
  case FREE_OTHER:
    free_slow(heap, p, page);
    return;
  }
}

#if MI_TRACK
/* False: the checker knows that it is no live block, and has said so, or we have. */
static bool free_tracked(void* p) {
  page_t* page = map_page_checked(p);
  if (p == NULL || track_free(p, page == NULL ? 0 : block_usable(page, p))) return true;
  log_error(EFAULT, "free: block %p is free already\n", p);
  return false;
}
#endif

#if SECURE_HOLDS
static NOINLINE void free_adjusting(heap_t* heap, void* p) {
  quarantine_t* q = &heap->quarantine;
  if (unlikely(heap->keeps)) { /* has none: what lies in it may be destroyed at any time */
    p = quarantine_withdraw(q);
    free_block(p);
    return;
  }
  p = quarantine_adjust(q, p);
  if (p != NULL) free_block(p);
  while ((p = quarantine_excess(q)) != NULL) free_block(p);
}
/* A freed block waits; another one that did so is freed for good. */
static NOINLINE void free_later(heap_t* heap, void* p, size_t size) {
  quarantine_t* q = &heap->quarantine;
  page_t* page = NULL;
  p = quarantine_put(q, p, size, &page);
  if (unlikely(quarantine_is_due(q)))
    free_adjusting(heap, p);
  else if (unlikely(owner_of(page) != (uintptr_t)heap))
    free_slow(heap, p, page);
  else if (unlikely(push_local(page, p)))
    heap_page_emptied(heap, page);
}

/* The calling thread's backing heap, which has its quarantine, if a freed block of the page is to
 * wait there; else NULL. A thread that has only freed so far gets a heap for that. */
static heap_t* heap_of_quarantine(page_t* page) {
  if (page_class(page) == CLASS_LARGE) return NULL;
  /* What lies in a first-class heap may be destroyed with it at any time. */
  uintptr_t owner = owner_of(page) & ~(uintptr_t)OWNER_FLAGS;
  if (owner > OWNER_TAG(OWNER_TAG_MAX) && ((heap_t*)owner)->keeps) return NULL;
  int saved = errno; /* there may be no memory for a heap */
  heap_t* heap = thread_backing();
  errno = saved;
  return heap;
}

INTERNAL void heap_let_held_go(heap_t* heap) {
  quarantine_t* q = &heap->quarantine;
  for (void* p; (p = quarantine_leave(q)) != NULL;) free_block(p);
  for (void* p; (p = quarantine_leave_medium(q)) != NULL;) free_block(p);
}
#endif

#if MI_SECURE > 0
static NOINLINE void free_secure(void* p) {
  heap_t* heap = heap_default;
  if (p == NULL) return;
  page_t* page = secure_take(p, (uintptr_t)heap);
#if MI_TRACK
  if (page == NULL || !free_tracked(p)) return;
#endif
#if SECURE_HOLDS
  heap_t* home = page == NULL ? NULL : heap_of_quarantine(page);
  if (home != NULL && page->block_size <= SINGLE_SLICE_MAX) {
    free_later(home, p, page->block_size);
    return;
  }
  if (home != NULL) p = quarantine_put_medium(&home->quarantine, p);
#endif
  if (page != NULL && p != NULL) free_block(p);
}

#if SECURE_HOLDS
static NOINLINE void free_long(heap_t* heap, void* p, size_t size) {
  if (likely(secure_take_long(map_slot(p), p, size)))
    free_later(heap, p, size);
  else
    free_secure(p);
}
static NOINLINE void free_unusual(heap_t* heap, void* p, size_t size) {
  if (likely(size == SECURE_TINY && secure_take_tiny(map_slot(p), p)))
    free_later(heap, p, size);
  else
    free_secure(p);
}
/* A block in a page of the thread's default heap. Each call is the last thing that is done, so that
 * hardly a register must be saved. */
static inline void free_own(heap_t* heap, page_t* page, void* p) {
  size_t size = page->block_size;
  if (unlikely(size - SECURE_OWN_MIN > SECURE_OWN_MAX - SECURE_OWN_MIN)) {
    free_unusual(heap, p, size);
    return;
  }
  switch (secure_take_own(page, p, size)) {
  case TAKE_DONE:
    free_later(heap, p, size);
    return;
  case TAKE_LONG:
    free_long(heap, p, size);
    return;
  case TAKE_OTHER:
    free_secure(p);
    return;
  }
}
#else
/* At levels 1 and 2 in as many steps as the default build has. */
static inline void free_own(heap_t* heap, page_t* page, void* p) {
  if (unlikely(!block_is_live(page, p)))
    free_secure(p);
  else if (unlikely(push_local(page, p)))
    heap_page_emptied(heap, page);
}
#endif

static inline __attribute__((always_inline)) void free_checked(heap_t* heap, void* p) {
  if (!MI_TRACK && likely(map_reaches(p))) {
    page_t* page = map_slot(p);
    if (likely(owner_of(page) == (uintptr_t)heap)) {
      free_own(heap, page, p);
      return;
    }
  }
  free_secure(p);
}
#endif

void mi_free(void* p) mi_attr_noexcept {
#if MI_SECURE > 0
  free_checked(heap_default, p);
#else
#if MI_DEBUG > 0
  if (!free_is_valid(p)) return;
#endif
#if MI_TRACK
  if (!free_tracked(p)) return;
#endif
  track_enter();
  free_block(p);
  track_leave();
#endif
}

INTERNAL page_t* block_page(const void* p, const char* what) {
#if MI_SECURE > 0
  return secure_live(p, what);
#else
  page_t* page = map_page_checked(p);
  if (unlikely(page == NULL)) invalid_pointer(p, what);
  return page;
#endif
}

/* ---- sizes ---- */

size_t mi_usable_size(const void* p) mi_attr_noexcept {
#if MI_SECURE > 0
  page_t* page = p == NULL ? NULL : secure_live(p, "usable size");
#else
  page_t* page = map_page_checked(p);
#endif
  if (page == NULL) return 0;
  size_t usable = block_usable(page, p);
  track_open(p, usable); /* who asks may use it */
  return usable;
}

INTERNAL size_t usable_if_live(const void* p) {
#if MI_SECURE > 0
  page_t* page = map_page_checked(p);
  return page != NULL && secure_is_sound(page, p) ? block_usable(page, p) : 0;
#else
  return mi_usable_size(p);
#endif
}

size_t mi_good_size(size_t size) mi_attr_noexcept {
  size_t whole = with_seal(size);
  if (size <= SMALL_MAX - SEAL_SIZE) {
    size_t class = class_of_small(whole);
    if (class == 0) return SECURE_GUARDS ? 0 : class_block_size(0);
    return class_block_size(class) - SEAL_SIZE;
  }
  if (size <= MEDIUM_MAX - SEAL_SIZE) return class_block_size(class_of_medium(whole)) - SEAL_SIZE;
  if (size > ALLOC_MAX) return size;
  mi_process_init(); /* else the size of an OS page is a guess */
  return round_up(whole, os_info.page_size) - SEAL_SIZE;
}

/* ---- told what was asked for ---- */

#if MI_CHECKED
static void check_sized(void* p, size_t size, size_t alignment) {
  if (p == NULL) return;
#if MI_SECURE > 0
  page_t* page = map_page_checked(p);
  if (page == NULL || !secure_is_sound(page, p)) return; /* mi_free says what is wrong */
  bool exact = SECURE_SEALS && size != 0 && page_class(page) != 0;
  if (exact ? size != block_usable(page, p) : size > block_room(page, p))
    secure_size_mismatch(page, p, size);
#else
  if (size > mi_usable_size(p))
    log_error(EFAULT, "sized free: block %p has fewer than %zu bytes\n", p, size);
#endif
  if (alignment != 0 && ((uintptr_t)p & (alignment - 1)) != 0)
    log_error(EFAULT, "sized free: block %p is not aligned to %zu\n", p, alignment);
}
#else
#define check_sized(p, size, alignment) ((void)(size), (void)(alignment))
#endif

void mi_free_size(void* p, size_t size) mi_attr_noexcept {
  check_sized(p, size, 0);
  mi_free(p);
}
void mi_free_size_aligned(void* p, size_t size, size_t alignment) mi_attr_noexcept {
  check_sized(p, size, alignment);
  mi_free(p);
}
void mi_free_aligned(void* p, size_t alignment) mi_attr_noexcept {
  check_sized(p, 0, alignment);
  mi_free(p);
}
