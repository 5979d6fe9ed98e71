/* keep.h - one bound for the process on what heaps keep to themselves in their partial lists.
 *
 * The charge of a page in a partial list: its free bytes above an eighth of the page, and of the
 * bytes in use the share that other threads will free, estimated from the frees that the heap has
 * met lately. So a heap whose thread frees its own blocks keeps its pages: they hold few free
 * bytes. A heap whose blocks others free keeps few, for its pages become free memory that no other
 * thread can use while it sleeps. A heap that has met no free yet counts its pages whole. The
 * eighth is what an abandoned page may hide too, see page_claimable_count.
 *
 *   allowance = max(KEEP_LEAST, bytes in use / KEEP_PART), for the process
 *   fair      = allowance / 2 / heaps
 *   credit    of each heap: what it needs, while all credits together are at most allowance / 2;
 *             else at most `fair`
 *
 * So all credits together are at most the allowance, unless the allowance has become smaller or the
 * heaps more since a heap's last tick. A heap above its credit abandons the pages that are emptier
 * than its average, a few at each tick; it keeps its active pages. A heap that sleeps holds its
 * credit, for it holds the memory. First-class heaps cannot abandon pages: they take as much credit
 * as their free bytes need, and the others have less.
 *
 * Active pages are not in this bound. A heap most of whose blocks other threads free would keep
 * them half empty, for it meets their free blocks only when it needs one of the class. So if its
 * active pages times the number of heaps are more than max(ACTIVE_LEAST, bytes in use / KEEP_PART),
 * it has nearly none: it takes the free blocks of a page, abandons the page, and allocates from
 * this *loose* list (heap_refill.c). Its credit is 0 then. Own frees are slower in abandoned pages,
 * so a heap whose own thread frees its blocks does not do this.
 *
 * While the process has a single thread its heap keeps all pages: no other thread could use them.
 *
 * Empty active pages of several slices (blocks above 8 KiB) have an allowance of their own:
 * KEEP_EMPTY for each heap, and an even part of KEEP_EMPTY_ALL.
 *
 * Threads: the heap's own, unless a comment says otherwise. The sum of credits and the count of
 *          heaps are shared; a heap writes them when its credit changes, at ticks, and when it
 *          starts and ends.
 */
#pragma once

#include "heap_types.h"

#define KEEP_LEAST (4 * MiB)
#define KEEP_PART 16
#define ACTIVE_LEAST (16 * MiB)
#define LOOSE_FROM 9 /* so many sixteenths of the frees are by others */
#define LOOSE_UNTIL 7
/* Secure builds allocate with the fields of the active page. */
#define LOOSE_LISTS (MI_SECURE == 0)
#define KEEP_EMPTY MiB
#define KEEP_EMPTY_ALL (64 * MiB)
#define KEEP_FALLBACK (4 * SLICE_SIZE) /* credit of the fallback heap, beside the allowance */

/* A heap starts or ends. Any thread. */
INTERNAL void keep_begin(heap_t* heap);
INTERNAL void keep_end(heap_t* heap);
/* The work of a tick: measures a few pages, adjusts the credit, abandons a part of the excess. */
INTERNAL void keep_tick(heap_t* heap);
/* Measures all pages, adjusts the credit, abandons the whole excess. */
INTERNAL void keep_collect(heap_t* heap);

/* Slices of empty active pages of several slices that the heap may keep. */
INTERNAL size_t keep_empty_max(void);

typedef struct keep_stats_s {
  size_t allowance; /* bytes */
  size_t credits;   /* bytes, of all heaps */
  size_t heaps;
} keep_stats_t;
/* Any thread. */
INTERNAL void keep_stats(keep_stats_t* stats);
/* For unloading. */
INTERNAL void keep_clear(void);
