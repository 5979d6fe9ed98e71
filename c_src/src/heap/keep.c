/* keep.c - see keep.h.
 *
 * Owns:    the sum of all credits, and the count of heaps.
 * Always:  the sum is what the credits of the live heaps add up to.
 * Threads: relaxed throughout: the counts publish nothing. Two heaps that raise their credits at
 *          the same time may exceed the allowance by one step each until their next ticks.
 */
#include "keep.h"
#include "../memory/arena_list.h"
#include "../page/abandoned.h"
#include "heap.h"
#include "kept_runs.h"
#include "page_queue.h"

static _Atomic(size_t) keep_credits, keep_heaps;

INTERNAL void keep_begin(heap_t* heap) {
  heap->runs = (kept_runs_t){.most = 0};
  heap->keep = (keep_t){.share = heap->is_first_class ? 0 : SHARE_ONE};
  add_relaxed(&keep_heaps, 1);
}

static void set_credit(heap_t* heap, size_t credit) {
  if (credit == heap->keep.credit) return;
  add_relaxed(&keep_credits, credit - heap->keep.credit);
  heap->keep.credit = credit;
}

INTERNAL void keep_end(heap_t* heap) {
  set_credit(heap, 0);
  sub_relaxed(&keep_heaps, 1);
}

INTERNAL void keep_stats(keep_stats_t* stats) {
  stats->allowance = max_size(KEEP_LEAST, arena_slices_in_use() * SLICE_SIZE / KEEP_PART);
  stats->credits = load_relaxed(&keep_credits);
  stats->heaps = load_relaxed(&keep_heaps);
}

INTERNAL size_t keep_empty_max(void) {
  return (KEEP_EMPTY + KEEP_EMPTY_ALL / max_size(load_relaxed(&keep_heaps), 1)) / SLICE_SIZE;
}

#define CREDIT_STEP (256 * KiB)

/* Takes as much credit as the heap needs and may have, or gives back what it does not need. */
static void adjust_credit(heap_t* heap) {
  size_t bytes = heap->keep.bytes;
  size_t need = heap->keep.loose ? 0 : round_up(bytes + bytes / 8 + 1, CREDIT_STEP);
  if (need == heap->keep.credit) return;
  if (!heap_keeps_all(heap)) {
    keep_stats_t all;
    keep_stats(&all);
    size_t half = all.allowance / 2, others = all.credits - heap->keep.credit;
    need = min_size(need, max_size(half - min_size(half, others), half / max_size(all.heaps, 1)));
  }
  set_credit(heap, need);
}

/* True if all heaps together have more active pages than allowed, if they are all like this one. */
static bool actives_exceed(const heap_t* heap) {
  size_t slices = 0;
  FOR_CLASSES(heap, cls) {
    if (heap->queue[cls].active != NULL || heap->free_list[cls] != NULL)
      slices += class_slices(cls);
  }
  size_t allowed = max_size(ACTIVE_LEAST / SLICE_SIZE, arena_slices_in_use() / KEEP_PART);
  return slices * load_relaxed(&keep_heaps) > allowed;
}

#define SHARE_FREES ((size_t)4096) /* that an estimate takes into account, about */

static void estimate_share(heap_t* heap) {
  keep_t* keep = &heap->keep;
  size_t frees = keep->by_owner + keep->by_others;
  if (frees < SHARE_FREES) return;
  keep->share = (uint32_t)(keep->by_others * SHARE_ONE / frees);
  ptrdiff_t others = (ptrdiff_t)keep->by_others + keep->claimed;
  ptrdiff_t enough = (ptrdiff_t)(frees / 16 * (keep->loose ? LOOSE_UNTIL : LOOSE_FROM));
  keep->loose = LOOSE_LISTS && others >= enough && actives_exceed(heap);
  if (keep->loose) heap_release_excess_to(heap, 0);
  keep->claimed /= 2;
  keep->by_owner /= 2;
  keep->by_others /= 2;
}

#define SWEEP_STEPS 16  /* pages and classes per tick */
#define SWEEP_EXCESS 64 /* more of them at most, while the heap is above its credit */

/* Measures a page. Releases it if others have emptied it, abandons it if it is a part of the
 * excess. */
static void sweep_page(heap_t* heap, page_t* page) {
  keep_t* keep = &heap->keep;
  queue_t* q = &heap->queue[page_class(page)];
  /* Relaxed: an estimate; heap_collect_page takes the list. */
  size_t remote = remote_count(load_relaxed(map_remote(page->slice)));
  bool full = page_has_flag(page, PAGE_FULL);
  if (remote == page_used(page) || (full && remote >= page_claimable_count(page))) {
    keep->by_others += remote;
    heap_collect_page(heap, q, page);
    return;
  }
  if (MI_HOLES && remote > 0 && page_used(page) - remote <= sparse_max(page->reserved) &&
      !heap_keeps_all(heap)) {
    keep->by_others += remote;
    queue_remove(heap, q, page);
    page_reclaim(page);
    abandon_page(page);
    return;
  }
  size_t charge = page_charge(heap, page, remote), slices = page_slices(page);
  if (!heap_wants(heap) && charge * heap->queued_slices >= keep->bytes * slices) {
    queue_remove(heap, q, page);
    abandon_page(page);
  } else {
    keep->sweep_bytes += charge;
  }
}

/* Begins with the next class; false: that was the last one, and all pages are measured. */
static bool sweep_next_class(heap_t* heap) {
  keep_t* keep = &heap->keep;
  size_t cls = heap_next_class(heap, keep->sweep_class);
  keep->sweep_class = (uint32_t)cls + 1;
  if (cls < CLASS_COUNT) {
    keep->sweep_page = heap->queue[cls].first;
    return true;
  }
  keep->bytes = keep->sweep_bytes;
  keep->sweep_bytes = 0;
  keep->sweep_class = 0;
  return false;
}

/* Goes on with the sweep over all pages of the partial lists, for so many pages and classes.
 * queue_remove moves `sweep_page` on if its page leaves the list. */
static void sweep(heap_t* heap, size_t steps) {
  keep_t* keep = &heap->keep;
  for (; steps > 0 && heap->queued_slices != 0; steps--) {
    page_t* page = keep->sweep_page;
    if (page != NULL) {
      keep->sweep_page = page->next;
      sweep_page(heap, page);
    } else if (!sweep_next_class(heap)) {
      return;
    }
  }
}

INTERNAL void keep_tick(heap_t* heap) {
  keep_t* keep = &heap->keep;
  runs_tick(heap, load_relaxed(&keep_heaps));
  if (os_is_single_threaded()) return; /* the heap keeps all its pages */
  if (!heap_keeps_all(heap)) estimate_share(heap);
  adjust_credit(heap);
  size_t excess = heap_wants(heap) ? 0 : (keep->bytes - keep->credit) / SLICE_SIZE;
  sweep(heap, SWEEP_STEPS + min_size(excess, SWEEP_EXCESS));
}

INTERNAL void keep_collect(heap_t* heap) {
  sweep(heap, SIZE_MAX); /* the rest of the pass that ticks have begun */
  sweep(heap, SIZE_MAX);
  adjust_credit(heap);
  sweep(heap, SIZE_MAX);
}

INTERNAL void keep_clear(void) {
  store_relaxed(&keep_credits, 0);
  store_relaxed(&keep_heaps, 0);
}
