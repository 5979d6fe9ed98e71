/* large.h - blocks that are pages of their own: above MEDIUM_MAX, or aligned above a slice.
 *
 * Threads: any; see large.c.
 */
#pragma once

#include "heap.h"
#include "../memory/page_map.h"
#include "../os/os.h"

static os_lock_t large_lock;
/* A zeroed block of `size` bytes that ends at a guard page, or as near to it as the alignment
 * allows; NULL without a report if there is no memory. */
INTERNAL void* large_new_guarded(heap_t* heap, size_t size, size_t align);
/* Frees the block that `p` points into. */
INTERNAL void large_free(page_t* page, void* p);
/* Marks the slice of `p`, an interior pointer that the program gets, so that its free finds the
 * block. */
INTERNAL void large_mark(page_t* page, void* p);

/* Gives up to `*blocks` large blocks of a first-class heap, which it counts down, to `to` (NULL: to
 * no heap); true if none is left. */
INTERNAL bool large_abandon(heap_t* heap, heap_t* to, size_t* blocks);
/* Frees all large blocks of a first-class heap. */
INTERNAL void large_destroy(heap_t* heap);
/* Forgets the OS-mapped blocks, which stay mapped. */
INTERNAL void large_unload(void);
/* Secure builds: releases the addresses of freed blocks from quarantine. */
INTERNAL void large_flush_quarantine(void);

/* What a thread can read of a large block that another thread may free. */
typedef struct large_view_s {
  uintptr_t heap; /* owner id: address of its heap, or a tag */
  char* start;
  size_t reserved, usable; /* bytes */
} large_view_t;
/* The block that starts at this slice; false if none lives there. Waits for no thread. */
INTERNAL bool large_view(uint32_t slice, large_view_t* view);
/* The OS-mapped block with the least address at or above `from`; false after the last. */
INTERNAL bool large_next_os_mapped(const char* from, large_view_t* view);
/* True if `p` lies in an OS-mapped block. */
INTERNAL bool large_contains(const void* p);

typedef struct large_stats_s {
  size_t reserved; /* bytes of OS-mapped blocks */
  size_t guarded;  /* guarded blocks, over time */
} large_stats_t;
INTERNAL void large_stats(large_stats_t* stats);

/* ---- for large_move.c and malloc_slow.c ---- */

static inline size_t page_span(const page_t* page) {
  return (size_t)page_slices(page) * SLICE_SIZE;
}

static inline size_t usable_for(size_t size) {
  return round_up(max_size(size + CANARY_SIZE, 1), os_info.page_size);
}

/* Slices of a block with so many usable bytes, with its guard. */
static inline size_t large_slices(size_t usable) { return slices_of(usable + large_guard_size()); }

/* Blocks of at least this many slices may use huge pages in the huge-page regions that they cover
 * whole. */
#define LARGE_HUGE (2 * THP_SLICES)

/* Bytes after a block that its guard makes inaccessible: up to the end of its slices, at most one
 * slice. */
static inline size_t large_guard_span(const page_t* page) {
  return min_size(page_span(page) - page->block_size, SLICE_SIZE);
}

/* A page of one block of `usable` bytes, with `slices` of address space; NULL without a report. */
INTERNAL page_t* large_new(heap_t* heap, size_t usable, size_t slices, size_t align, bool* zero);
INTERNAL void zero_memory(page_t* page, size_t size);
INTERNAL void set_usable(page_t* page, size_t usable);
/* Advises huge pages for the block from its slice `from` on, where its use, or the use before, is
 * known to be dense. */
INTERNAL void large_advise(page_t* page, uint32_t from, bool dense);
/* Returns whether the use of the block was dense, for the block that follows it too. */
INTERNAL bool large_note_use(page_t* page);
/* Sets how many mappings a moved block of an arena holds. */
INTERNAL void large_set_mappings(page_t* page, size_t count);
/* True if moved blocks may hold more mappings. */
INTERNAL bool large_may_move(void);
INTERNAL bool is_movable(const page_t* page);
INTERNAL void large_guard(page_t* page, bool wanted);
/* Removes the guard; false if the kernel refuses. True too if there is none. */
INTERNAL bool large_unguard(page_t* page);
/* Remaps slices that hold moved mappings. False: the kernel refused and the slices may be unmapped.
 * The caller then leaks the addresses instead of reusing them; the memory went to the kernel. */
INTERNAL bool remap_slices(uint16_t arena, uint32_t slice, uint32_t count);
/* Takes all slices of a block, or its last ones, and returns them to the arena or puts them in
 * quarantine. `used`: bytes at their start that the program may have written. */
INTERNAL void return_slices(uint16_t arena, uint32_t slice, uint32_t count, size_t used);

/* For statistics: a live block was resized from `before` to `after` usable bytes. */
INTERNAL void large_count_resized(size_t before, size_t after);
/* True if the limit of the block's heap allows `slices` more. */
INTERNAL bool large_may_grow(page_t* page, size_t slices);
/* The holder of the block has changed its slices; it had `before` bytes of them. */
INTERNAL void large_count_span(page_t* page, size_t before);
/* `size` bytes of an OS-mapped block were unmapped. */
INTERNAL void large_count_unmapped(size_t size);
/* Adds the count of a heap that ends to the count of the process. */
INTERNAL void large_count_ended(heap_t* heap);
/* Adds the counts of a heap to `sum`; NULL: of the heaps that have ended, and of threads without
 * one. */
INTERNAL void large_add_counts(large_counts_t* sum, const heap_t* heap);
