/* slice_count.c - see slice_count.h. */
#include "slice_count.h"
#include "meta.h"
#include "usage.h"

/* Metadata that a run may touch: OS pages of descriptors and of abandoned lines, and the
 * block-state tables of a page. */
static size_t metadata_of(size_t n, bool is_page) {
  return 3 * os_info.page_size + (MI_SECURE > 0 && is_page ? STATES_WIDE + n * STATES_DENSE : 0);
}

/* The switch may count some of the slices at the same time: then this thread gives its part back.
 */
INTERNAL COLD bool slices_count(arena_t* a, size_t i, size_t n, bool is_page) {
  if (usage_touches(metadata_of(n, is_page))) meta_measure();
  size_t more = n - bitmap_count_run(a->counted, i, n);
  if (more == 0) return usage_has_room(0); /* the limit may have been lowered */
  if (!usage_charge(more * SLICE_SIZE)) return false;
  size_t mine = bitmap_change(a->counted, i, n, true);
  if (mine < more) usage_discharge((more - mine) * SLICE_SIZE);
  return true;
}

INTERNAL COLD void slices_count_anyway(arena_t* a, size_t i, size_t n) {
  usage_add(bitmap_change(a->counted, i, n, true) * SLICE_SIZE);
}

INTERNAL void slices_uncount(arena_t* a, size_t i, size_t n) {
  size_t less = bitmap_change(a->counted, i, n, false);
  if (less > 0) usage_discharge(less * SLICE_SIZE);
}

INTERNAL void slices_are_clean(arena_t* a, size_t i, size_t n) {
  (void)bitmap_change(a->dirty, i, n, false);
  /* The switch finds that the slices are not dirty, or this thread finds that it counts. */
  if (unlikely(load_seq_cst(&a->counts)) && !a->non_purgeable) slices_uncount(a, i, n);
}
