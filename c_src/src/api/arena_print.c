/* arena_print.c - prints a map of each arena. Arenas change meanwhile, so the map is approximate.
 *
 * Threads: any.
 */
#include "../memory/arena_list.h"
#include "../runtime/log.h"
#include "../thread/heap_registry.h"

#define MAP_COLUMNS 64
#define MAP_LINES 16

/* Index of the first abandoned page of `a` whose first slice is the `i`-th or a later one. The full
 * pages of a live heap are abandoned too, but name that heap; only pages that an ended heap left
 * count. */
static size_t next_abandoned(arena_t* a, size_t i) {
  page_t* page;
  while ((page = arena_next_page(a, &i)) != NULL) {
    uintptr_t owner = load_relaxed(&page->owner);
    if (owner_is_abandoned(owner) && owner_heap_or_null(owner) == NULL) return i - 1;
  }
  return a->slices;
}

typedef struct show_s {
  bool inuse, abandoned, purge;
} show_t;

/* Prints one line for up to `slices` slices from the `i`-th on. `*abandoned` is the first abandoned
 * page there or later. */
static void print_map_line(arena_t* a, size_t i, size_t slices, size_t group, show_t show,
                           size_t* abandoned) {
  char text[MAP_COLUMNS + 1];
  size_t n = 0, end = min_size(i + slices, a->slices);
  for (; i < end; i += group) {
    size_t count = min_size(group, end - i);
    char c = '.';
    if (show.purge && bitmap_any(a->purge, i, count)) c = 'p';
    size_t held = 0;
    for (size_t k = i; show.inuse && k < i + count; k++) held += arena_is_held(a, k);
    if (held > 0) c = held < count ? '+' : '#';
    if (*abandoned < i + count) {
      if (show.abandoned) c = 'a';
      *abandoned = next_abandoned(a, i + count);
    }
    text[n++] = c;
  }
  text[n] = 0;
  log_print(NULL, NULL, "  |%s|\n", text);
}

static void print_arena(arena_t* a, show_t show) {
  size_t opened = load_relaxed(&a->opened), abandoned = 0;
  size_t free = min_size(bitmap_count(a->free, a->slices), opened);
  for (size_t i = 0; (i = next_abandoned(a, i)) < a->slices; i++) abandoned++;
  log_print(NULL, NULL, "arena %d at %p: %zu KiB, node %d%s%s%s%s\n", a->index + 1,
            (void*)((uintptr_t)a->first_slice << SLICE_SHIFT),
            (size_t)a->slices * (SLICE_SIZE / KiB), a->numa_node,
            a->from_user ? ", given by the program" : "", a->exclusive ? ", exclusive" : "",
            a->non_purgeable ? ", non-purgeable" : "",
            a->commit_on_demand || a->recedes ? ", committed on demand" : "");
  log_print(
      NULL, NULL,
      "  %zu slices: %zu accessible, %zu in use, %zu waiting for purge; %zu abandoned pages\n",
      (size_t)a->slices, opened, opened - free, bitmap_count(a->purge, a->slices), abandoned);
  if (!show.inuse && !show.abandoned && !show.purge) return;
  size_t group = 1, line, next = next_abandoned(a, 0);
  while (group * MAP_COLUMNS * MAP_LINES < a->slices) group *= 2;
  line = group * MAP_COLUMNS;
  log_print(NULL, NULL, "  %zu slices in a character:\n", group);
  for (size_t i = 0; i < a->slices; i += line) print_map_line(a, i, line, group, show, &next);
}

void mi_debug_show_arenas(bool show_inuse, bool show_abandoned, bool show_purge) mi_attr_noexcept {
  mi_process_init();
  heaps_recover();
  show_t show = {show_inuse, show_abandoned, show_purge};
  log_print(NULL, NULL, "arenas: # in use, + partly, a abandoned, p waiting for purge, . else\n");
  FOR_ARENAS(a) print_arena(a, show);
}

void mi_arenas_print(void) mi_attr_noexcept { mi_debug_show_arenas(true, true, true); }
