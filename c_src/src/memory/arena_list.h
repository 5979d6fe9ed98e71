/* arena_list.h - all arenas, and which arena an address lies in. */
#pragma once

#include "arena_types.h"

#define ARENA_MAX 256

/* Guards additions to the list. For the rank of locks see heap_registry.h. */
static os_lock_t arena_lock;
INTERNAL arena_t* arena_at(size_t index); /* NULL from the count on */
INTERNAL size_t arena_count(void);
/* The same for the arenas that every heap may use. */
INTERNAL arena_t* arena_shared_at(size_t index);
INTERNAL size_t arena_shared_count(void);
/* Appends a complete arena, whose index is the count. Under arena_lock. */
INTERNAL void arena_list_add(arena_t* a);
/* Forgets all arenas. */
INTERNAL void arena_list_clear(void);
INTERNAL arena_t* arena_of(const void* p); /* NULL: in none */
static inline bool arena_contains(const void* p) { return arena_of(p) != NULL; }
/* True if a part of the range belongs to an arena. */
INTERNAL bool arena_overlaps(const void* start, size_t size);

/* The first page of the arena that begins at slice `*i` or later; NULL after the last. `*i` becomes
 * the slice after the page's first one. It was a page at that moment, and may be freed by now. */
INTERNAL page_t* arena_next_page(arena_t* a, size_t* i);

/* How many slices are held: an estimate, of one arena and of all. */
INTERNAL size_t arena_slices_used(arena_t* a);
INTERNAL size_t arena_slices_in_use(void);
