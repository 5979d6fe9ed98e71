/* stretch.c - which memory of an arena the system is advised to use transparent huge pages for.
 *
 * Owns:    the `huge` bits of each arena: the stretch has the advice.
 * Always:  a bit that is set stands for an advice that was given and not withdrawn.
 * Threads: any; see advise().
 * Uses:    arena.h, options.h, os.h.          Used by: arena, large.
 *
 * A huge page takes the place of 512 small ones at a seventh of the cost, but it is resident as a
 * whole. So what is advised is what will be touched as a whole: further pages of small blocks in a
 * program that is large already, and the inside of large blocks. An arena as such is advised not to
 * use them, so that small programs stay small whatever the system does. What is purged loses the
 * advice, see purge_by_stretches() in arena.c.
 */
#include "stretch.h"
#include "options.h"

INTERNAL bool stretch_is_wanted(void) {
  return option_value(mi_option_allow_thp) != 0 && option_value(mi_option_purge_delay) != 0 &&
         os_info.page_size == 4 * KiB;
}

static char* stretch_address(arena_t* a, size_t s) {
  return slice_address(a->first_slice + (uint32_t)(s * STRETCH_SLICES));
}

/* Advises the system to use huge pages for those of the stretches [s, end) that it was not yet.
 * First the bit: who withdraws does it in the other order, so a bit that is set never stands
 * for an advice that is gone. An advice without its bit does no harm: the stretch is purged slice
 * by slice. */
static void advise(arena_t* a, size_t s, size_t end) {
  while (s < end) {
    size_t first = s;
    while (s < end && !bitmap_any(a->huge, s, 1)) s++;
    if (s > first) {
      bitmap_set(a->huge, first, s - first); /* twice at the same time does no harm */
      os_advise_huge(stretch_address(a, first), (s - first) * STRETCH_SIZE, true);
    }
    s++;
  }
}

INTERNAL void stretch_withdraw(arena_t* a, size_t s, size_t end) {
  if (option_value(mi_option_allow_thp) != 2)
    os_advise_huge(stretch_address(a, s), (end - s) * STRETCH_SIZE, false);
  (void)bitmap_clear(a->huge, s, end - s);
}

INTERNAL void stretch_advise(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  if (a == NULL || a->stretches == 0) return;
  size_t i = slice - a->first_slice;
  advise(a, (i + STRETCH_SLICES - 1) / STRETCH_SLICES,
         min_size((i + count) / STRETCH_SLICES, a->stretches));
}

INTERNAL bool stretch_renew(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, s = i / STRETCH_SLICES;
  size_t end = min_size((i + count - 1) / STRETCH_SLICES + 1, a->stretches);
  if (!os_renew(slice_address(slice), count * SLICE_SIZE)) return false;
  /* As at the start, so that the range is one mapping with its neighbours again. */
  if (a->stretches > 0 && option_value(mi_option_allow_thp) != 2)
    os_advise_huge(slice_address(slice), count * SLICE_SIZE, false);
  if (s < end) stretch_withdraw(a, s, end);
  return true;
}

/* Slices of an arena that are in use before small pages get huge ones: a stretch that is touched in
 * part only then adds little to what is resident anyway. */
#define HUGE_FROM ((size_t)(16 * MiB / SLICE_SIZE))

/* A slice of small blocks, ours since just now. If a part of its stretch was touched before, that
 * has its small OS pages already. */
INTERNAL void stretch_advise_page(arena_t* a, size_t i) {
  size_t s = i / STRETCH_SLICES;
  if (s >= a->stretches || bitmap_any(a->huge, s, 1)) return;
  if (MI_SECURE > 1) return; /* the guards between pages would make small ones of it */
  if (a->slices - load_relaxed(&a->free_count) >= HUGE_FROM &&
      !bitmap_any(a->dirty, s * STRETCH_SLICES, STRETCH_SLICES))
    advise(a, s, s + 1);
}
