/* kept_runs.c - see kept_runs.h; arena_purge.c has the argument for the exchange. */
#include "kept_runs.h"
#include "../base/checker.h"
#include "../memory/arena_list.h"
#include "../memory/arena_purge.h"
#include "../runtime/options.h"
#include "current.h"

/* A heap that may use any memory. */
static bool has_runs(heap_t* heap) {
  return MI_SECURE == 0 && !MI_TRACK && heap != NULL && !heap_keeps_all(heap) &&
         heap->affinity.arena == ARENA_NONE && heap->affinity.numa_node < 0;
}

static void run_note(kept_runs_t* runs, size_t k, uint32_t slice, size_t count) {
  runs->slice[k] = slice;
  runs->count[k] = (uint8_t)count;
  runs->slices = (uint16_t)(runs->slices + count);
  runs->places[count] = runs->places[count] | 1u << k;
}

static void run_forget(kept_runs_t* runs, size_t k) {
  size_t count = runs->count[k];
  runs->places[count] = runs->places[count] & ~(1u << k);
  runs->slices = (uint16_t)(runs->slices - count);
  runs->count[k] = 0;
}

/* Takes the run at the place; its slices, or 0 if another thread has taken it. If the heap has kept
 * a run that begins there since, with more slices or fewer, that one is taken. */
static size_t run_take_at(heap_t* heap, size_t k) {
  uint32_t slice = heap->runs.slice[k];
  run_forget(&heap->runs, k);
  return arena_take_kept(slice, (uintptr_t)heap);
}

static void run_return_at(heap_t* heap, size_t k) {
  uint32_t slice = heap->runs.slice[k];
  if (heap->runs.count[k] == 0) return;
  run_forget(&heap->runs, k);
  arena_unkeep(slice, (uintptr_t)heap);
}

INTERNAL bool run_keep(page_t* page) {
  heap_t* heap = heap_is_real(heap_default) ? heap_backing(heap_default) : NULL;
  size_t count = page_slices(page);
  if (!has_runs(heap) || count > min_size(RUN_MAX, heap->runs.most)) return false;
  if (page->arena == ARENA_NONE || load_relaxed(&page->flags) != 0) return false;
  arena_t* a = arena_at(page->arena);
  if (a->exclusive || !arena_is_movable(a) || option_value(mi_option_purge_delay) <= 0)
    return false;
  kept_runs_t* runs = &heap->runs;
  size_t k = runs->oldest;
  for (run_return_at(heap, k); runs->slices + count > runs->most; run_return_at(heap, k))
    k = (k + 1) % KEPT_RUNS;
  runs->oldest = (uint8_t)((k + 1) % KEPT_RUNS);
  run_note(runs, k, page->slice, count);
  arena_keep(page->arena, page->slice, count, (uintptr_t)heap);
  return true;
}

INTERNAL bool run_take(heap_t* heap, size_t* slices, run_t* run) {
  kept_runs_t* runs = &heap->runs;
  size_t most = min_size(*slices + *slices / 4, RUN_MAX);
  if (*slices > RUN_MAX || !has_runs(heap)) return false;
  for (size_t count = *slices; count <= most; count++)
    while (runs->places[count] != 0) {
      size_t k = lowest_bit(runs->places[count]), taken;
      uint32_t slice = runs->slice[k];
      if ((taken = run_take_at(heap, k)) == count) {
        *run = (run_t){.slice = slice, .arena = map_descriptor_of_slice(slice)->arena};
        *slices = count;
        runs->used = true;
        return true;
      }
      if (taken > 0) arena_free(map_descriptor_of_slice(slice)->arena, slice, (uint32_t)taken);
    }
  return false;
}

INTERNAL void runs_return(heap_t* heap) {
  if (heap->runs.slices == 0) return;
  for (size_t k = 0; k < KEPT_RUNS; k++) run_return_at(heap, k);
}

INTERNAL void runs_tick(heap_t* heap, size_t heaps) {
  size_t share = KEPT_SLICES / max_size(heaps, 1);
  /* A small share would be given back before it is used: that costs more than it saves. */
  heap->runs.most = (uint16_t)(share < 2 * RUN_MAX ? 0 : share);
  if (!heap->runs.used) runs_return(heap);
  heap->runs.used = false;
}
