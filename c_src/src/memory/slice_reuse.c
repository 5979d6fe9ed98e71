/* slice_reuse.c - see slice_reuse.h. */
#include "slice_reuse.h"
#include "arena_list.h"
#include "slice_count.h"
#include "../runtime/log.h"

static struct {
  _Atomic(size_t) ends;       /* guards at the end of pages and blocks that are mappings */
  _Atomic(size_t) closed;     /* runs of closed slices that are mappings, or more */
  _Atomic(uintptr_t) written; /* where a write after free was found; 0: nothing to report */
} guards;                     /* relaxed: counts, and an address for a message only */

static char* address_of(const arena_t* a, size_t i) {
  return slice_address(a->first_slice + (uint32_t)i);
}

/* ---- guards that are mappings ---- */

/* Each guard adds up to two mappings. A process may have about 65,000. */
#define GUARDS_MAX 8192

/* Counts runs, because neighbouring closed slices share a mapping. */
static size_t count_closed(void) {
  size_t runs = 0;
  if (MI_SECURE == 0) return 0;
  FOR_ARENAS(a) {
    uint64_t before = 0;
    for (size_t w = 0; w < bitmap_words(a->slices); w++) {
      uint64_t bits = load_relaxed(&a->shut[w]);
      runs += count_bits(bits & ~(bits << 1 | before));
      before = bits >> (BITS_PER_WORD - 1);
    }
  }
  return runs;
}

static bool may_shut(void) {
  size_t ends = load_relaxed(&guards.ends), closed = load_relaxed(&guards.closed);
  if (ends + closed < GUARDS_MAX) return true;
  size_t counted = count_closed(); /* may miss the few slices that other threads close now */
  (void)cas_relaxed(&guards.closed, &closed, counted);
  return ends + counted < GUARDS_MAX;
}

INTERNAL bool guard_set(void* p, size_t size) {
  if ((os_guards_are_mappings() && !may_shut()) || !os_guard(p, size)) return false;
  if (os_guards_are_mappings()) add_relaxed(&guards.ends, 1);
  return true;
}

INTERNAL bool guard_remove(void* p, size_t size) {
  if (!os_unguard(p, size)) return false;
  if (os_guards_are_mappings()) sub_relaxed(&guards.ends, 1);
  return true;
}

INTERNAL void guard_note(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  bitmap_set(a->guarded, slice - a->first_slice, count);
  if (!os_guards_are_mappings()) return;
  bitmap_set(a->shut, slice - a->first_slice, count);
  sub_relaxed(&guards.ends, 1);
  add_relaxed(&guards.closed, 1);
}

#if MI_SECURE > 0
INTERNAL void guard_note_end(uint16_t arena, uint32_t slice) {
  arena_t* a = arena_at(arena);
  guard_note(arena, slice, 1);
  bitmap_set(a->guarded_end, slice - a->first_slice, 1);
}
#endif

/* ---- contents ---- */

typedef uint64_t word_t __attribute__((may_alias)); /* the program stores other types there */

/* `size` is a multiple of 64. */
static bool is_zero_memory(const void* p, size_t size) {
  const word_t *word = p, *end = (const void*)((const char*)p + size);
  for (; word < end; word += 8) {
    uint64_t any = word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6] | word[7];
    if (unlikely(any != 0)) return false;
  }
  return true;
}

/* Writes only to OS pages that are not zero, so pages that were never touched get no memory. */
INTERNAL void slices_wipe(void* p, size_t size) {
  char* at = p;
  for (size_t done = 0; done < size; done += os_info.page_size)
    if (!is_zero_memory(at + done, os_info.page_size)) memset(at + done, 0, os_info.page_size);
}

static COLD void note_written(void* p, size_t size) {
  const word_t* word = p;
  uintptr_t none = 0;
  while (*word == 0) word++;
  (void)cas_relaxed(&guards.written, &none, (uintptr_t)word);
  memset(p, 0, size);
}

static void look_through(char* p, size_t size) {
  if (unlikely(!is_zero_memory(p, size))) note_written(p, size);
}

INTERNAL void slices_report(void) {
  uintptr_t at = SECURE_ZERO ? load_relaxed(&guards.written) : 0;
  if (likely(at == 0) || !cas_relaxed(&guards.written, &at, 0)) return;
  log_error(EFAULT,
            "write after free: address %p, thread %zu (found in memory that was given back)\n",
            (void*)at, (size_t)os_thread_id());
}

/* ---- slices leave a block ---- */

static bool close_slices(arena_t* a, size_t i, size_t n) {
  if (!arena_is_movable(a)) return false;
  char* start = address_of(a, i);
  bool shut = n > CLOSE_LIGHTLY_MAX || os_guards_are_mappings();
  if (shut ? !may_shut() || !os_shut(start, n * SLICE_SIZE) : !os_guard(start, n * SLICE_SIZE))
    return false;
  shut |= os_guards_are_mappings(); /* the first guard finds that out */
  if (shut) {
    add_relaxed(&guards.closed, 1);
    bitmap_set(a->shut, i, n);
  }
  bitmap_set(a->guarded, i, n);
  (void)bitmap_clear(a->guarded_end, i, n);
  if (a->commit_on_demand) return true; /* the purge must still return the charge */
  slices_are_clean(a, i, n);
  if (SECURE_ZERO) (void)bitmap_clear(a->stale, i, n);
  return true;
}

static void clear_slices(arena_t* a, size_t i, size_t n, size_t used) {
  char* start = address_of(a, i);
  if (!arena_is_movable(a)) {
    /* It cannot be closed, and the program may have written to all of the slices. */
    slices_wipe(start, n * SLICE_SIZE);
    return;
  }
  bool zero = false, purged = os_purge(start, n * SLICE_SIZE, true, &zero);
  if (!purged || !zero)
    slices_wipe(start, used);
  else if (!a->commit_on_demand)
    slices_are_clean(a, i, n);
}

INTERNAL bool slices_leave(uint16_t arena, uint32_t slice, uint32_t count, size_t used) {
  if (!SECURE_GUARDS || used == 0) return false;
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice;
  bool closed = close_slices(a, i, count);
  if (!closed && SECURE_ZERO) clear_slices(a, i, count, used);
  return closed;
}

/* ---- slices are allocated ---- */

/* Makes the slices accessible. A guard at the end stays if a page needs one there. */
static bool open_slices(arena_t* a, size_t i, size_t n, bool is_page, run_t* run) {
  run->guarded = is_page && bitmap_all(a->guarded_end, i + n - 1, 1) &&
                 (n == 1 || !bitmap_any(a->guarded, i, n - 1));
  char* start = address_of(a, i);
  bool shut = bitmap_any(a->shut, i, n);
  if (shut && !os_open(start, n * SLICE_SIZE)) return false;
  if (!run->guarded && !os_guards_are_mappings() && !os_unguard(start, n * SLICE_SIZE))
    return false;
  (void)bitmap_clear(a->guarded, i, n);
  (void)bitmap_clear(a->guarded_end, i, n);
  /* The closed slices before and after these may be two runs now. */
  if (bitmap_clear(a->shut, i, n)) add_relaxed(&guards.closed, 1);
  return true;
}

/* The blocks of a page are checked later, one by one. So what the program left in memory that it
 * gave to the library is wiped here: it is no write after free. */
static bool enter_page(arena_t* a, size_t i, size_t n, bool fresh) {
  if (fresh) return true;
  for (size_t k = i; k < i + n; k++)
    if (bitmap_any(a->dirty, k, 1) && !bitmap_any(a->stale, k, 1))
      slices_wipe(address_of(a, k), SLICE_SIZE);
  return false;
}

static bool enter_block(arena_t* a, size_t i, size_t n) {
  if (!bitmap_any(a->stale, i, n)) return !bitmap_any(a->dirty, i, n);
  bool zero = true;
  /* The system refused to close these slices. To check so many might take minutes, so a purge drops
   * their contents. */
  if (n > CLOSE_LIGHTLY_MAX && !bitmap_any(a->dirty, i, n) &&
      os_purge(address_of(a, i), n * SLICE_SIZE, true, &zero) && zero)
    return true;
  zero = true;
  for (size_t k = i; k < i + n; k++) {
    if (bitmap_any(a->stale, k, 1))
      look_through(address_of(a, k), SLICE_SIZE);
    else if (bitmap_any(a->dirty, k, 1))
      zero = false;
  }
  return zero;
}

INTERNAL bool slices_enter(arena_t* a, size_t i, size_t n, bool is_page, run_t* run) {
  bool guarded = bitmap_any(a->guarded, i, n);
  if (guarded && !open_slices(a, i, n, is_page, run)) return false;
  if (!SECURE_ZERO) return true;
  bool fresh = run->zero && !guarded && !bitmap_any(a->stale, i, n);
  run->absent = run->zero && !fresh;
  run->zero = is_page ? enter_page(a, i, n, fresh) : enter_block(a, i, n);
  bitmap_set(a->stale, i, n);
  return true;
}

/* ---- purging ---- */

#if MI_SECURE >= 4
INTERNAL void slices_before_purge(arena_t* a, size_t i, size_t n) {
  for (size_t k = i; k < i + n; k++) {
    if (!bitmap_any(a->stale, k, 1)) continue;
    if (a->commit_on_demand && !bitmap_any(a->committed, k, 1)) continue;
    bool guarded = bitmap_any(a->guarded, k, 1), ends = bitmap_any(a->guarded_end, k, 1);
    if (!guarded || ends)
      look_through(address_of(a, k), SLICE_SIZE - (ends ? os_info.page_size : 0));
  }
}

INTERNAL void slices_after_purge(arena_t* a, size_t i, size_t n) {
  if (a->from_user) (void)bitmap_clear(a->stale, i, n);
}
#endif
