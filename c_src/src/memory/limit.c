/* limit.c - see limit.h.
 *
 * Owns:    the share of the container's limit; the switch from "no counting" to "counting".
 * Threads: any; arena_lock guards the switch and the changes of the limits.
 *
 * Argument for the switch: it happens once, while other threads claim and purge slices. `counted`
 * has a bit for each slice that is in the count. All changes of the count follow from changes of
 * these bits by fetch-and-or and fetch-and-and, which tell who has changed which bit. So no slice
 * is counted twice, and none is taken out twice. A thread that holds a slice changes `dirty`, then
 * reads `counts`. The switch sets `counts`, then reads `dirty`. All four accesses are sequentially
 * consistent, so a dirty slice is counted by one of the two. A purge clears `dirty`, then
 * `counted`. It may do both between the read of `dirty` and the write of `counted` by the switch.
 * So the switch reads `dirty` again, and claims such a slice: then no other thread holds it, and
 * both bits stand still. Limits come into force after the switch, so an incomplete count refuses
 * nothing.
 */
#include "limit.h"
#include "arena.h"
#include "arena_list.h"
#include "arena_reserve.h"
#include "meta.h"
#include "slice_count.h"
#include "usage.h"
#include "../runtime/options.h"

#define REREAD_MS 1000 /* the container's limit is read at most so often */

static struct {
  _Atomic(size_t) share;     /* of the container's limit, bytes; 0: none */
  _Atomic(uint64_t) read_ms; /* when it was read; relaxed, and so is `share`: both stand alone */
  const char* root;          /* before the paths of the system's files; tests set it */
} limits;

/* ---- the switch ---- */

#define SETTLE_NAPS 1000
#define SETTLE_NAP_US 100

/* The slice was counted, and is not dirty. Another thread is about to make it dirty or to return
 * it, or it is free. */
static COLD void settle(arena_t* a, size_t i) {
  for (unsigned round = 0; round < SETTLE_NAPS && !bitmap_any(a->dirty, i, 1); round++) {
    flight_begin(1);
    bool claimed = bitmap_claim_at(a->free, i, 1);
    if (claimed) {
      sub_relaxed(&a->free_count, 1);
      if (!bitmap_any(a->dirty, i, 1)) slices_uncount(a, i, 1);
      arena_return(a, i, 1);
    }
    flight_end(1);
    if (claimed) return;
    os_nap(SETTLE_NAP_US);
  }
}

static COLD void count_word(arena_t* a, size_t w) {
  uint64_t dirty = load_seq_cst(&a->dirty[w]);
  uint64_t added = dirty & ~or_seq_cst(&a->counted[w], dirty);
  usage_add(count_bits(added) * SLICE_SIZE);
  uint64_t gone = added & ~load_seq_cst(&a->dirty[w]);
  for (; gone != 0; gone &= gone - 1) settle(a, w * BITS_PER_WORD + lowest_bit(gone));
}

static COLD void count_arena(arena_t* a) {
  (void)swap_seq_cst(&a->counts, true);
  /* A huge page is resident as a whole. With the limit no further regions get the advice. */
  for (size_t s = 0; s < a->thp_regions; s++)
    if ((load_seq_cst(&a->huge[s / BITS_PER_WORD]) >> (s % BITS_PER_WORD) & 1) != 0)
      bitmap_set(a->dirty, s * THP_SLICES, THP_SLICES);
  if (a->non_purgeable)
    slices_count_anyway(a, 0, a->slices);
  else
    for (size_t w = 0; w < bitmap_words(a->slices); w++) count_word(a, w);
}

static COLD void start_counting(void) {
  usage_start();
  FOR_ARENAS(a) count_arena(a);
  meta_measure();
}

/* ---- the limits ---- */

/* Others use the container's memory too, so the library takes a part of it in percent. */
static void read_container(void) {
  long percent = option_value(mi_option_limit_container);
  size_t bytes = percent > 0 ? os_container_limit(limits.root) : SIZE_MAX;
  store_relaxed(&limits.share,
                bytes == SIZE_MAX ? 0 : max_size(bytes / 100 * (size_t)percent, KiB));
}

INTERNAL COLD void limit_apply(void) {
  read_container();
  os_lock(&arena_lock);
  size_t soft = option_size(mi_option_limit_soft), hard = option_size(mi_option_limit_hard);
  size_t share = load_relaxed(&limits.share);
  if (share != 0 && (hard == 0 || share < hard)) hard = share;
  if ((soft != 0 || hard != 0) && !usage_is_on()) start_counting();
  usage_set_limits(soft, hard);
  os_unlock(&arena_lock);
}

INTERNAL void limit_tick(void) {
  if (likely(option_value(mi_option_limit_container) == 0)) return;
  uint64_t now = os_clock_ms(), read_ms = load_relaxed(&limits.read_ms);
  if (now - read_ms >= REREAD_MS && cas_relaxed(&limits.read_ms, &read_ms, now)) limit_apply();
}

/* What threads that are gone had counted and not opened yet, or given back and not uncounted. */
INTERNAL void limit_after_fork(size_t os_mapped) {
  size_t slices = 0;
  if (usage_is_on()) FOR_ARENAS(a) slices += bitmap_count(a->counted, a->slices);
  usage_recount(slices * SLICE_SIZE + os_mapped);
}

INTERNAL COLD size_t limit_used(void) {
  if (usage_is_on()) {
    meta_measure();
    return usage_count();
  }
  arena_stats_t stats;
  arena_stats(&stats);
  return stats.committed + usage_count() + meta_resident();
}
