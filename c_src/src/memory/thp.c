/* thp.c - for which regions of an arena the system is advised to use transparent huge pages.
 *
 * Owns:    the `huge` bits of each arena: the huge-page region has the advice. The `dense` bits:
 *          the last large block that covered the region was dense when it ended.
 * Always:  each huge bit that is set stands for advice that was given and not withdrawn.
 * Threads: any; see advise_regions(). A dense bit is a hint, written by the thread that holds the
 *          region.
 *
 * A huge page replaces 512 small ones at a seventh of their cost, but it is resident as a whole. So
 * the advice is given where use tells that the memory is dense, touched as a whole: for further
 * pages of small blocks in a program that is large already, for vectors that grow although all of
 * them is used, and for large blocks where the block before was dense. A fresh large block gets no
 * advice: the program may touch little of it. So what a sparse block gets by mistake was resident
 * once before. The rest of an arena is advised not to use huge pages, so that small programs stay
 * small whatever the system does by itself. A purge withdraws the advice, see purge_by_regions() in
 * arena_purge.c. It keeps the dense bits.
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

/* So many parts of a range are looked at, from the middle on: a system call of 2 us for each. The
 * range is dense if at most one of them is not. */
#define DENSE_SAMPLES 8
#define DENSE_SAMPLE_SIZE SLICE_SIZE

INTERNAL bool thp_can_measure(void) { return os_info.can_advise_huge && thp_is_wanted(); }

INTERNAL bool thp_is_dense(const char* start, size_t size) {
  if (!thp_can_measure() || size < DENSE_SAMPLE_SIZE) return false;
  size_t step = (size - DENSE_SAMPLE_SIZE) / (DENSE_SAMPLES - 1), sparse = 0;
  for (size_t i = 0; i < DENSE_SAMPLES && sparse < 2; i++) {
    size_t sample = (i + DENSE_SAMPLES / 2) % DENSE_SAMPLES;
    const char* at = start + round_down(sample * step, os_info.page_size);
    sparse += os_resident(at, DENSE_SAMPLE_SIZE) < DENSE_SAMPLE_SIZE / 4 * 3;
  }
  return sparse < 2;
}

/* Gives the advice for those of the regions [s, end) that lack it, or for the dense ones of them.
 * It sets the bit before the advice, and thp_withdraw clears the bit after it: so no bit stays set
 * without its advice. Advice without its bit does no harm: such a region is purged slice by slice.
 */
static void advise_regions(arena_t* a, size_t s, size_t end, bool dense_only) {
  bool zero;
  while (s < end) {
    size_t first = s;
    while (s < end && !bitmap_any(a->huge, s, 1) && (!dense_only || bitmap_any(a->dense, s, 1)))
      s++;
    if (s > first) {
      bitmap_set(a->huge, first, s - first); /* two threads may do this at once */
      os_advise_huge(thp_address(a, first), (s - first) * THP_SIZE, true);
      /* Small OS pages that wait for their purge would stay: huge ones take their place. */
      if (dense_only) (void)os_purge(thp_address(a, first), (s - first) * THP_SIZE, true, &zero);
    }
    s++;
  }
}

INTERNAL void thp_withdraw(arena_t* a, size_t s, size_t end) {
  if (option_value(mi_option_allow_thp) != 2)
    os_advise_huge(thp_address(a, s), (end - s) * THP_SIZE, false);
  (void)bitmap_clear(a->huge, s, end - s);
}

/* The regions that lie inside the slices: the first, and `*end`. */
static size_t regions_inside(arena_t* a, uint32_t slice, uint32_t count, size_t* end) {
  size_t i = slice - a->first_slice, first = (i + THP_SLICES - 1) / THP_SLICES;
  *end = max_size(first, min_size((i + count) / THP_SLICES, a->thp_regions));
  return first;
}

INTERNAL void thp_advise(uint16_t arena, uint32_t slice, uint32_t count, bool dense) {
  arena_t* a = arena_at(arena);
  if (a == NULL || a->thp_regions == 0) return;
  size_t end, first = regions_inside(a, slice, count, &end);
  advise_regions(a, first, end, !dense);
}

INTERNAL bool thp_note_use(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  if (a->thp_regions == 0) return false;
  size_t end, first = regions_inside(a, slice, count, &end);
  /* A block that comes and goes at one address within a moment is measured once. */
  static _Atomic(uint64_t) last; /* relaxed: a hint */
  uint64_t now = (uint64_t)slice << 32 | (uint32_t)os_clock_ms();
  if (first < end && load_relaxed(&last) == now) return bitmap_all(a->dense, first, end - first);
  store_relaxed(&last, now);
  bool dense = thp_is_dense(slice_address(slice), count * SLICE_SIZE);
  if (first == end) return dense;
  if (dense)
    bitmap_set(a->dense, first, end - first);
  else
    (void)bitmap_clear(a->dense, first, end - first);
  return dense;
}

INTERNAL bool thp_remap(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, s = i / THP_SLICES;
  size_t end = min_size((i + count - 1) / THP_SLICES + 1, a->thp_regions);
  if (!os_remap(slice_address(slice), count * SLICE_SIZE)) return false;
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
  if (load_relaxed(&a->counts)) return;
  if (MI_SECURE > 1) return; /* the guards between pages would split a huge page */
  if (arena_slices_used(a) >= HUGE_FROM && !bitmap_any(a->dirty, s * THP_SLICES, THP_SLICES)) {
    advise_regions(a, s, s + 1, false);
    /* With a limit a region would be resident beyond the slices that are counted. Its switch sets
     * `counts`, then reads `huge`; this thread has set `huge`, then reads `counts`. */
    if (load_seq_cst(&a->counts)) thp_withdraw(a, s, s + 1);
  }
}
