/* arena_reserve.c - see arena_reserve.h.
 *
 * Owns:    the size of the next arena after a refusal.
 * Always:  memory that cannot become an arena goes back to the system.
 * Threads: any; arena_lock guards additions.
 */
#include "arena_reserve.h"
#include "arena.h"
#include "arena_list.h"
#include "arena_open.h"
#include "arena_purge.h"
#include "meta.h"
#include "page_map.h"
#include "thp.h"
#include "usage.h"
#include "../runtime/log.h"
#include "../runtime/options.h"

static size_t reserve_size; /* limit of the next arena, bytes; 0: none; guarded by arena_lock */

/* ---- an arena ---- */

/* Memory that is resident from the start. */
static size_t resident_size(const arena_memory_t* memory) {
  return memory->non_purgeable || !memory->zero ? memory->size : 0;
}

/* Counts it; false if a limit forbids that. The program's own memory is there in any case. */
static bool arena_charge(const arena_memory_t* memory) {
  size_t size = resident_size(memory);
  if (!usage_is_on() || size == 0) return true;
  if (!memory->from_user) return usage_charge(size);
  usage_add(size);
  return true;
}

static arena_t* arena_make(const arena_memory_t* memory) {
  size_t index = arena_count(); /* changes only under arena_lock, which the caller holds */
  void* start = memory->start;
  size_t size = memory->size;
  if (index >= (memory->on_demand ? ARENA_MAX : ARENA_MAX - ARENAS_KEPT_BACK)) return NULL;
  if (arena_overlaps(start, size) || !map_extend(start, size)) return NULL;
  size_t slices = size / SLICE_SIZE, words = bitmap_words(slices);
  size_t chunks = (slices + CHUNK_SLICES - 1) / CHUNK_SLICES;
  arena_t* a = meta_alloc(sizeof(arena_t));
  size_t thp_regions = memory->huge ? slices / ZONES * HOME_ZONE / THP_SLICES : 0;
  size_t region_words = bitmap_words(thp_regions);
  bitword_t* bits = meta_alloc((9 * words + 2 * region_words) * sizeof(bitword_t));
  abandoned_line_t* lines = meta_reserve(chunks * CLASS_COUNT * sizeof(abandoned_line_t));
  if (a == NULL || bits == NULL || lines == NULL) return NULL; /* metadata is never given back */
  if (MI_SECURE > 0) {
    a->states = meta_reserve(slices * (STATES_WIDE + STATES_DENSE));
    a->guarded = meta_alloc(4 * words * sizeof(bitword_t));
    if (a->states == NULL || a->guarded == NULL) return NULL;
    a->guarded_end = a->guarded + words;
    a->shut = a->guarded_end + words;
    a->stale = a->shut + words;
  }
  bool steps = !memory->committed && os_info.holes_are_mappings;
  a->first_slice = (uint32_t)((uintptr_t)start >> SLICE_SHIFT);
  a->slices = (uint32_t)slices;
  a->index = (uint16_t)index;
  a->from_user = memory->from_user;
  a->exclusive = memory->exclusive;
  a->non_purgeable = memory->non_purgeable;
  a->commit_on_demand = !memory->committed && !steps;
  a->recedes = steps && memory->charged;
  a->numa_node = memory->numa_node;
  a->free = bits;
  a->dirty = bits + words;
  a->committed = bits + 2 * words;
  a->purge = bits + 3 * words;
  a->second_chance = bits + 4 * words;
  a->counted = bits + 5 * words;
  a->sparse = bits + 6 * words;
  a->sparse_before = bits + 7 * words;
  a->kept = bits + 8 * words;
  a->huge = bits + 9 * words;
  a->dense = a->huge + region_words;
  a->thp_regions = thp_regions;
  a->abandoned = lines;
  if (!memory->zero) bitmap_set(a->dirty, 0, slices);
  arena_set_frontiers(a, !steps);
  if (usage_is_on()) {
    if (resident_size(memory) != 0) bitmap_set(a->counted, 0, slices);
    store_relaxed(&a->counts, true); /* arena_list_add publishes it */
  }
  arena_list_add(a);
  return a;
}

INTERNAL arena_t* arena_add(const arena_memory_t* memory) {
  if (!arena_charge(memory)) return NULL;
  arena_t* a = arena_make(memory);
  if (a == NULL && usage_is_on()) usage_discharge(resident_size(memory));
  return a;
}

/* ---- memory from the system ---- */

#define HUGE_ARENA_MIN (64 * MiB) /* smaller arenas get no huge pages */

static bool is_large_allowed(void) { return option_value(mi_option_allow_large_os_pages) != 0; }

static bool is_eager_commit(void) {
  long eager = option_value(mi_option_arena_eager_commit);
  return eager == 1 || (eager != 0 && (os_info.overcommits || is_large_allowed()));
}

/* `start` is NULL if the system refuses. `commit`: the memory may be accessible ahead of demand.
 * `on_demand`: nothing has asked for all of it, so it is opened in steps where the system has an
 * advantage from that. Large OS pages are always accessible. */
static arena_memory_t memory_from_os(size_t size, size_t align, bool commit, bool allow_large,
                                     bool on_demand) {
  arena_memory_t memory = {.size = size, .zero = true, .on_demand = on_demand, .numa_node = -1};
  if (commit && allow_large && is_large_allowed()) {
    memory.committed = true;
    memory.start = os_reserve_large(size, align, &memory.non_purgeable);
    return memory;
  }
  memory.committed = commit && !(on_demand && os_info.holes_are_mappings);
  memory.charged = !commit;
  os_access_t access = memory.committed ? OS_LAZY : OS_INACCESSIBLE;
  if (commit && size >= HUGE_ARENA_MIN && thp_is_wanted()) {
    memory.start = os_reserve(size, max_size(align, THP_SIZE), access);
    memory.huge = memory.start != NULL;
  }
  if (memory.start == NULL) memory.start = os_reserve(size, align, access);
  /* An arena gets no huge pages until a region is advised, so that a small program stays small
   * whatever the system does by itself. */
  if (memory.start != NULL && option_value(mi_option_allow_thp) == 1)
    os_advise_huge(memory.start, size, false);
  /* Debuggers write inaccessible memory to core files too. */
  if (memory.start != NULL && !memory.committed) os_advise_dump(memory.start, size, false);
  return memory;
}

/* The caller holds arena_lock. NULL: the memory has gone back to the system. */
static arena_t* arena_add_or_release(const arena_memory_t* memory) {
  arena_t* a = arena_add(memory);
  if (a == NULL) os_release(memory->start, memory->size);
  return a;
}

/* The largest value of the option that counts, before the doublings. */
#define RESERVE_MAX (ADDRESS_BITS > 32 ? 16 * GiB : GiB)

/* Reserves an arena that can hold `count` slices. The caller holds arena_lock. */
static bool arena_reserve_on_demand(uint32_t count, uint32_t align) {
  if (option_value(mi_option_disallow_os_alloc) != 0) return false;
  size_t need = (size_t)count * SLICE_SIZE;
  size_t wanted = option_size(mi_option_arena_reserve);
  /* A very large program gets larger arenas, so that their number stays small. */
  size_t doublings = min_size(arena_count() / 8, 4);
  wanted = min_size(min_size(wanted, RESERVE_MAX), ALLOC_MAX >> doublings) << doublings;
  wanted = round_up(min_size(wanted, os_info.ahead_max), SLICE_SIZE);
  /* After a refusal (a limit, a small address space) the library reserves in small steps, and not
   * all that is left. The steps grow again with each success. They are never so small that the list
   * of arenas is full before the address space is. If the option is 0, "nothing ahead of demand",
   * the least steps serve, because all memory lies in arenas. */
  size_t whole = wanted;
  if (reserve_size != 0) wanted = min_size(wanted, reserve_size);
  wanted = max_size(wanted, MiB << (arena_count() / 16));
  for (size_t size = wanted;; size /= 4) {
    bool last = size <= max_size(need, MiB);
    if (last) size = max_size(need, MiB);
    arena_memory_t memory =
        memory_from_os(size, (size_t)align * SLICE_SIZE, is_eager_commit(), true, true);
    /* If there is room for the memory but not for its descriptors, a smaller arena may succeed. */
    if (memory.start != NULL && arena_add_or_release(&memory) != NULL) {
      reserve_size = size >= whole ? 0 : size * 4;
      return true;
    }
    if (last && !map_unlock_table()) return false;
    size = round_up(last ? 4 * size : size, 4 * SLICE_SIZE); /* a quarter is whole slices */
  }
}

static arena_t* arena_add_locked(const arena_memory_t* memory) {
  os_lock(&arena_lock);
  arena_t* a = arena_add_or_release(memory);
  os_unlock(&arena_lock);
  return a;
}

/* The system call runs without the lock, because it may take long and other threads must go on. */
INTERNAL arena_t* arena_reserve_memory(size_t size, bool commit, bool allow_large, bool exclusive) {
  arena_t* a = NULL;
  if (size > 0 && size <= ALLOC_MAX) {
    arena_memory_t memory =
        memory_from_os(round_up(size, SLICE_SIZE), SLICE_SIZE, commit, allow_large, false);
    memory.exclusive = exclusive;
    if (memory.start != NULL) a = arena_add_locked(&memory);
  }
  if (a == NULL) log_warning("cannot reserve an arena of %zu bytes\n", size);
  return a;
}

static size_t numa_node_count(void) {
  long nodes = option_value(mi_option_use_numa_nodes);
  return nodes > 0 ? (size_t)nodes : os_numa_nodes();
}

INTERNAL arena_t* arena_reserve_huge(size_t pages, long numa_node, size_t timeout_ms,
                                     bool exclusive) {
  int node = numa_node < 0 ? -1 : (int)((size_t)numa_node % numa_node_count());
  os_huge_t huge = os_reserve_huge(pages, node, timeout_ms);
  arena_t* a = NULL;
  if (huge.pages > 0) {
    arena_memory_t memory = {.start = huge.start,
                             .size = huge.pages * OS_HUGE_SIZE,
                             .committed = true,
                             .non_purgeable = true,
                             .zero = true,
                             .exclusive = exclusive,
                             .numa_node = node};
    a = arena_add_locked(&memory);
  }
  if (!huge.bound) log_warning("huge pages may lie on other nodes than node %d\n", node);
  if (a == NULL || huge.pages < pages)
    log_warning("reserved %zu of %zu huge pages\n", a == NULL ? 0 : huge.pages, pages);
  return a;
}

INTERNAL bool arena_reserve_huge_interleave(size_t pages, size_t nodes, size_t timeout_ms) {
  if (nodes == 0) nodes = numa_node_count();
  if (timeout_ms != 0) timeout_ms = timeout_ms / nodes + 50;
  for (size_t node = 0; node < nodes && pages > 0; node++) {
    /* Rounded up, so that the first nodes get the remainder. */
    size_t share = pages / (nodes - node) + (pages % (nodes - node) != 0);
    if (arena_reserve_huge(share, (long)node, timeout_ms, false) == NULL) return false;
    pages -= share;
  }
  return true;
}

INTERNAL void arena_reserve_at_start(void) {
  long pages = option_value(mi_option_reserve_huge_os_pages);
  if (pages > 0) {
    size_t n = (size_t)pages, timeout_ms = n * 500;
    long node = option_value(mi_option_reserve_huge_os_pages_at);
    if (node < 0)
      (void)arena_reserve_huge_interleave(n, 0, timeout_ms);
    else
      (void)arena_reserve_huge(n, node, timeout_ms, false);
  }
  size_t size = option_size(mi_option_reserve_os_memory);
  if (size > 0) (void)arena_reserve_memory(size, true, true, false);
}

/* ---- a run of slices ---- */

INTERNAL run_t arena_alloc(affinity_t affinity, uint32_t count, uint32_t align,
                           placement_t placement) {
  run_t run = {0, ARENA_NONE, false, false, false};
  if (arena_alloc_existing(affinity, count, align, placement, &run)) return run;
  /* Before more memory is opened. Home slots are not long enough for a kept run. */
  if (placement.zone != ZONE_HOME && arena_return_kept() &&
      arena_alloc_existing(affinity, count, align, placement, &run))
    return run;
  /* A new arena would need room for all of the run. */
  if (unlikely(usage_is_on()) && !usage_has_room((size_t)count * SLICE_SIZE)) return run;
  os_lock(&arena_lock);
  /* Another thread may have opened memory while this one waited for the lock. */
  bool found = arena_alloc_existing(affinity, count, align, placement, &run) ||
               arena_alloc_opening(affinity, count, align, placement, &run) ||
               (affinity.arena == ARENA_NONE && arena_reserve_on_demand(count, align) &&
                (arena_alloc_existing(affinity, count, align, placement, &run) ||
                 arena_alloc_opening(affinity, count, align, placement, &run)));
  os_unlock(&arena_lock);
  /* Search again after each wait: slices that were in flight may be free now. */
  for (unsigned round = 0; !found; round++) {
    bool waited = wait_for_flight(round);
    found = arena_alloc_existing(affinity, count, align, placement, &run);
    if (!waited) break;
  }
  return run;
}

/* ---- the end of the image ---- */

/* Unmaps the runs of free slices; slices in use stay. It keeps the program's own memory. Huge OS
 * pages are unmapped as a whole or not at all. */
static void release_free(arena_t* a) {
  size_t n;
  if (a->from_user || (a->non_purgeable && !bitmap_all(a->free, 0, a->slices))) return;
  for (size_t i = 0; i < a->slices; i += max_size(n, 1)) {
    for (n = 0; i + n < a->slices && !arena_is_held(a, i + n);) n++;
    os_release(slice_address(a->first_slice + (uint32_t)i), n * SLICE_SIZE);
  }
}

INTERNAL void arena_unload(void) {
  (void)arena_return_kept();
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) release_free(a);
  arena_list_clear();
  arena_purge_clear();
  flight_reset();
  usage_clear();
}

/* ---- statistics ---- */

INTERNAL void arena_stats(arena_stats_t* stats) {
  memset(stats, 0, sizeof(*stats));
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) {
    size_t opened = load_relaxed(&a->opened), free = bitmap_count(a->free, a->slices);
    stats->reserved += (size_t)a->slices * SLICE_SIZE;
    stats->in_use += (opened - min_size(free, opened)) * SLICE_SIZE;
    /* All memory of a non-purgeable arena is resident, or set aside by the system. The system has
     * set aside all open memory of an arena that recedes. */
    stats->committed +=
        (a->non_purgeable || a->recedes ? opened : bitmap_count(a->dirty, a->slices)) * SLICE_SIZE;
    stats->arenas++;
  }
  arena_purge_stats(&stats->purging);
}
