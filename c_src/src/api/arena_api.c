/* arena_api.c - arenas that the program adds, and questions about arenas.
 *
 * Always:  the id of an arena is its index plus one; 0 is "none".
 * Threads: any.
 */
#include "../memory/arena_list.h"
#include "../heap/large.h"
#include "../runtime/log.h"
#include "../memory/arena_reserve.h"

static arena_t* arena_of_id(mi_arena_id_t id) { return id > 0 ? arena_at((size_t)id - 1) : NULL; }

/* Writes the id of the arena to `id` (may be NULL), 0 if there is none; true if there is an
 * arena. */
static bool give_id(const arena_t* a, mi_arena_id_t* id) {
  if (id != NULL) *id = a != NULL ? a->index + 1 : 0;
  return a != NULL;
}

/* ---- the program's own memory ---- */

/* True when an OS-mapped block lies in the range: its descriptors are in use. arena_add compares
 * the range with the other arenas. */
static bool overlaps_os_mapped(const char* from, const char* to) {
  large_view_t view;
  return large_contains(from) || (large_next_os_mapped(from, &view) && view.start < to);
}

static arena_t* manage(arena_memory_t memory) {
  uintptr_t start = (uintptr_t)memory.start, end;
  if (start == 0 || !add_fits(start, memory.size, &end)) return NULL;
  uintptr_t from = round_up(start, SLICE_SIZE), to = round_down(end, SLICE_SIZE);
  if (from < start || to <= from) return NULL;
  if (overlaps_os_mapped((char*)from, (char*)to)) return NULL;
  memory.start = (void*)from;
  memory.size = to - from;
  os_lock(&arena_lock);
  arena_t* a = arena_add(&memory);
  os_unlock(&arena_lock);
  return a;
}

bool mi_manage_os_memory_ex(void* start, size_t size, bool is_committed, bool is_large,
                            bool is_zero, int numa_node, bool exclusive, mi_arena_id_t* arena_id)
    mi_attr_noexcept {
  mi_process_init();
  arena_memory_t memory = {.start = start,
                           .size = size,
                           .committed = is_committed || is_large,
                           .non_purgeable = is_large,
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
int mi_reserve_huge_os_pages_at(size_t pages, int numa_node, size_t timeout_msecs)
    mi_attr_noexcept {
  return mi_reserve_huge_os_pages_at_ex(pages, numa_node, timeout_msecs, false, NULL);
}
int mi_reserve_huge_os_pages_interleave(size_t pages, size_t numa_nodes, size_t timeout_msecs)
    mi_attr_noexcept {
  mi_process_init();
  return arena_reserve_huge_interleave(pages, numa_nodes, timeout_msecs) ? 0 : ENOMEM;
}

int mi_reserve_huge_os_pages(size_t pages, double max_secs, size_t* pages_reserved)
    mi_attr_noexcept {
  mi_process_init();
  log_warning("mi_reserve_huge_os_pages is deprecated, use mi_reserve_huge_os_pages_interleave\n");
  size_t timeout = 0;
  if (max_secs > 0) /* a limit below a millisecond must not become 0, which is no limit */
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
