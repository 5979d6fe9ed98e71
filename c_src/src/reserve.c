/* reserve.c - arenas that the program asks for, and what it may ask of them.
 *
 * Owns:    nothing.
 * Always:  an arena's id is its index plus one; 0 is "none".
 * Threads: any. The map that is printed is made of hints, for arenas change meanwhile.
 * Uses:    arena.h, map.h, large.h, log.h.          Used by: the program.
 */
#include "arena.h"
#include "large.h"
#include "log.h"
#include "map.h"
#include "thread.h"

static arena_t* arena_of_id(mi_arena_id_t id) { return id > 0 ? arena_at((size_t)id - 1) : NULL; }

/* Writes the id where the program wants it; true if there is an arena. */
static bool give_id(const arena_t* a, mi_arena_id_t* id) {
  if (id != NULL) *id = a != NULL ? a->index + 1 : 0;
  return a != NULL;
}

/* ---- the program's own memory ---- */

/* A block that came directly from the OS lies in the range: its descriptors are in use. The ranges
 * of arenas are looked at where arenas are added. */
static bool overlaps_direct(const char* from, const char* to) {
  large_view_t view;
  return large_contains(from) || (large_next_direct(from, &view) && view.start < to);
}

static arena_t* manage(arena_memory_t memory) {
  uintptr_t start = (uintptr_t)memory.start, end;
  if (start == 0 || __builtin_add_overflow(start, memory.size, &end)) return NULL;
  uintptr_t from = round_up(start, SLICE_SIZE), to = round_down(end, SLICE_SIZE);
  if (from < start || to <= from) return NULL;
  if (overlaps_direct((char*)from, (char*)to)) return NULL;
  memory.start = (void*)from;
  memory.size = to - from;
  os_lock(&arena_lock);
  arena_t* a = arena_add(&memory);
  os_unlock(&arena_lock);
  return a;
}

bool mi_manage_os_memory_ex(void* start, size_t size, bool is_committed, bool is_large,
                            bool is_zero, int numa_node, bool exclusive,
                            mi_arena_id_t* arena_id) mi_attr_noexcept {
  mi_process_init();
  arena_memory_t memory = {.start = start,
                           .size = size,
                           .committed = is_committed || is_large,
                           .pinned = is_large,
                           .zero = is_zero,
                           .from_user = true,
                           .exclusive = exclusive,
                           .numa_node = numa_node < 0 ? -1 : numa_node};
  return give_id(manage(memory), arena_id);
}
bool mi_manage_os_memory(void* start, size_t size, bool is_committed, bool is_large, bool is_zero,
                         int numa_node) mi_attr_noexcept {
  return mi_manage_os_memory_ex(start, size, is_committed, is_large, is_zero, numa_node, false,
                                NULL);
}

/* ---- memory from the OS ---- */

int mi_reserve_os_memory_ex(size_t size, bool commit, bool allow_large, bool exclusive,
                            mi_arena_id_t* arena_id) mi_attr_noexcept {
  mi_process_init();
  arena_t* a = arena_reserve_memory(size, commit, allow_large, exclusive);
  return give_id(a, arena_id) ? 0 : ENOMEM;
}
int mi_reserve_os_memory(size_t size, bool commit, bool allow_large) mi_attr_noexcept {
  return mi_reserve_os_memory_ex(size, commit, allow_large, false, NULL);
}

int mi_reserve_huge_os_pages_at_ex(size_t pages, int numa_node, size_t timeout_msecs,
                                   bool exclusive, mi_arena_id_t* arena_id) mi_attr_noexcept {
  mi_process_init();
  arena_t* a = NULL;
  if (pages > 0) a = arena_reserve_huge(pages, numa_node, timeout_msecs, exclusive);
  return give_id(a, arena_id) || pages == 0 ? 0 : ENOMEM;
}
int mi_reserve_huge_os_pages_at(size_t pages, int numa_node,
                                size_t timeout_msecs) mi_attr_noexcept {
  return mi_reserve_huge_os_pages_at_ex(pages, numa_node, timeout_msecs, false, NULL);
}
int mi_reserve_huge_os_pages_interleave(size_t pages, size_t numa_nodes,
                                        size_t timeout_msecs) mi_attr_noexcept {
  mi_process_init();
  return arena_reserve_huge_interleave(pages, numa_nodes, timeout_msecs) ? 0 : ENOMEM;
}

int mi_reserve_huge_os_pages(size_t pages, double max_secs,
                             size_t* pages_reserved) mi_attr_noexcept {
  mi_process_init();
  log_warning("mi_reserve_huge_os_pages is deprecated, use mi_reserve_huge_os_pages_interleave\n");
  size_t timeout = 0;
  if (max_secs > 0) /* a limit below a millisecond must not become none */
    timeout = max_size(max_secs < 1e6 ? (size_t)(max_secs * 1000) : 1000000000, 1);
  int error = mi_reserve_huge_os_pages_interleave(pages, 0, timeout);
  if (pages_reserved != NULL) *pages_reserved = error == 0 ? pages : 0;
  return error;
}

/* ---- queries ---- */

size_t mi_arena_min_alignment(void) mi_attr_noexcept { return SLICE_SIZE; }
size_t mi_arena_min_size(void) mi_attr_noexcept { return SLICE_SIZE; }

void* mi_arena_area(mi_arena_id_t arena_id, size_t* size) mi_attr_noexcept {
  arena_t* a = arena_of_id(arena_id);
  if (size != NULL) *size = a != NULL ? (size_t)a->slices * SLICE_SIZE : 0;
  return a != NULL ? (void*)((uintptr_t)a->first_slice << SLICE_SHIFT) : NULL;
}

bool mi_arena_contains(mi_arena_id_t arena_id, const void* p) mi_attr_noexcept {
  arena_t* a = arena_of_id(arena_id);
  return a != NULL && a == arena_of(p);
}

/* ---- a picture ---- */

#define MAP_COLUMNS 64
#define MAP_LINES 16

/* Index of the first abandoned page of `a` whose first slice is the `i`-th or a later one. Pages
 * that a heap has left behind name no heap any more, while full pages of live heaps do. */
static size_t next_abandoned(arena_t* a, size_t i) {
  page_t* page;
  while ((page = arena_next_page(a, &i)) != NULL) {
    uintptr_t owner = load_relaxed(&page->owner);
    if ((owner & OWNER_UNOWNED) != 0 && owner <= OWNER_TAG(OWNER_TAG_MAX) + OWNER_FLAGS)
      return i - 1;
  }
  return a->slices;
}

typedef struct show_s {
  bool inuse, abandoned, purge;
} show_t;

/* One line for up to `slices` slices from the `i`-th on; `*abandoned` is the first abandoned page
 * there or behind. */
static void print_map_line(arena_t* a, size_t i, size_t slices, size_t group, show_t show,
                           size_t* abandoned) {
  char text[MAP_COLUMNS + 1];
  size_t n = 0, end = min_size(i + slices, a->slices);
  for (; i < end; i += group) {
    size_t count = min_size(group, end - i);
    char c = '.';
    if (show.purge && bitmap_any(a->purge, i, count)) c = 'p';
    if (show.inuse && !bitmap_all(a->free, i, count)) c = bitmap_any(a->free, i, count) ? '+' : '#';
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
  size_t free = bitmap_count(a->free, a->slices), abandoned = 0;
  for (size_t i = 0; (i = next_abandoned(a, i)) < a->slices; i++) abandoned++;
  log_print(NULL, NULL, "arena %d at %p: %zu KiB, node %d%s%s%s%s\n", a->index + 1,
            (void*)((uintptr_t)a->first_slice << SLICE_SHIFT),
            (size_t)a->slices * (SLICE_SIZE / KiB), a->numa_node,
            a->from_user ? ", given by the program" : "", a->exclusive ? ", exclusive" : "",
            a->pinned ? ", pinned" : "", a->commit_by_need ? ", committed by need" : "");
  log_print(NULL, NULL, "  %zu slices: %zu in use, %zu waiting for purge; %zu abandoned pages\n",
            (size_t)a->slices, a->slices - free, bitmap_count(a->purge, a->slices), abandoned);
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
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) print_arena(a, show);
}

void mi_arenas_print(void) mi_attr_noexcept { mi_debug_show_arenas(true, true, true); }
