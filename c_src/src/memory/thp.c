/* thp.c - for which regions of an arena the system is advised to use transparent huge pages.
 *
 * Owns:    the `huge` bits of each arena: the huge-page region has the advice.
 * Always:  each bit that is set stands for advice that was given and not withdrawn.
 * Threads: any; see advise_regions().
 *
 * A huge page replaces 512 small ones at a seventh of their cost, but it is resident as a whole. So
 * the advice is given for memory that will be touched as a whole: further pages of small blocks in
 * a program that is large already, and the inside of large blocks. The rest of an arena is advised
 * not to use huge pages, so that small programs stay small whatever the system does by itself. A
 * purge withdraws the advice, see purge_by_regions() in arena_purge.c.
 */
#include "thp.h"
#include "arena_list.h"
#include "../runtime/options.h"

INTERNAL bool thp_is_wanted(void) {
  return option_value(mi_option_allow_thp) != 0 && option_value(mi_option_purge_delay) != 0 &&
         os_info.page_size == 4 * KiB;
}

static char* thp_address(arena_t* a, size_t s) {
  return slice_address(a->first_slice + (uint32_t)(s * THP_SLICES));
}

/* Gives the advice for those of the regions [s, end) that lack it. It sets the bit before the
 * advice, and thp_withdraw clears the bit after it: so no bit stays set without its advice. Advice
 * without its bit does no harm: such a region is purged slice by slice. */
static void advise_regions(arena_t* a, size_t s, size_t end) {
  while (s < end) {
    size_t first = s;
    while (s < end && !bitmap_any(a->huge, s, 1)) s++;
    if (s > first) {
      bitmap_set(a->huge, first, s - first); /* two threads may do this at once */
      os_advise_huge(thp_address(a, first), (s - first) * THP_SIZE, true);
    }
    s++;
  }
}

INTERNAL void thp_withdraw(arena_t* a, size_t s, size_t end) {
  if (option_value(mi_option_allow_thp) != 2)
    os_advise_huge(thp_address(a, s), (end - s) * THP_SIZE, false);
  (void)bitmap_clear(a->huge, s, end - s);
}

INTERNAL void thp_advise(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  if (a == NULL || a->thp_regions == 0) return;
  size_t i = slice - a->first_slice;
  advise_regions(a, (i + THP_SLICES - 1) / THP_SLICES,
                 min_size((i + count) / THP_SLICES, a->thp_regions));
}

INTERNAL bool thp_remap(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, s = i / THP_SLICES;
  size_t end = min_size((i + count - 1) / THP_SLICES + 1, a->thp_regions);
  if (!os_renew(slice_address(slice), count * SLICE_SIZE)) return false;
  /* The advice of a new arena, so that the range and its neighbours are one mapping again. */
  if (option_value(mi_option_allow_thp) == 1)
    os_advise_huge(slice_address(slice), count * SLICE_SIZE, false);
  if (s < end) thp_withdraw(a, s, end);
  return true;
}

/* Small pages get huge pages once so many slices of the arena are in use. Then a region that is
 * touched only in part adds little to the resident memory. */
#define HUGE_FROM ((size_t)(16 * MiB / SLICE_SIZE))

/* A part of the region that was touched before already has small OS pages, so such a region gets no
 * advice. */
INTERNAL void thp_advise_page(arena_t* a, size_t i) {
  size_t s = i / THP_SLICES;
  if (s >= a->thp_regions || bitmap_any(a->huge, s, 1)) return;
  if (MI_SECURE > 1) return; /* the guards between pages would split a huge page */
  if (a->slices - load_relaxed(&a->free_count) >= HUGE_FROM &&
      !bitmap_any(a->dirty, s * THP_SLICES, THP_SLICES))
    advise_regions(a, s, s + 1);
}
