/* meta.c - memory for the library's own metadata.
 *
 * Owns:    the list of metadata regions, and the chunk that small structs are allocated from.
 * Always:  a region lies between two inaccessible OS pages. Metadata is type-stable: it is never
 *          used for another type, because a slow thread may still read a descriptor or heap struct.
 * Threads: any, under meta_lock.
 */
#include "meta.h"
#include "usage.h"

#define CHUNK_SIZE (256 * KiB)

typedef struct region_s {
  struct region_s* next;
  char* start;
  size_t size;
} region_t;

static os_lock_t meta_lock = OS_LOCK_INIT;

static struct {
  region_t* regions;
  char* chunk; /* where the next small struct begins */
  size_t left; /* bytes left there */
} meta;

/* Opens the middle of inaccessible address space: one system call less than two guards. */
static char* guarded_reserve(size_t size) {
  size_t guard = os_info.page_size, whole = size + 2 * guard;
  char* p = os_reserve(whole, guard, OS_INACCESSIBLE);
  if (p != NULL && !os_commit(p + guard, size)) { /* at the limit of mappings: without guards */
    os_release(p, whole);
    p = os_reserve(whole, guard, OS_LAZY);
  }
  if (p == NULL && (p = os_reserve_unlocked(whole)) != NULL) {
    (void)os_protect(p, guard);
    (void)os_protect(p + guard + size, guard);
  }
  if (p == NULL) return NULL;
  /* A huge page would be resident before it is measured. */
  if (usage_is_on()) os_advise_huge(p + guard, size, false);
  return p + guard;
}

/* The caller holds meta_lock. */
static void* bump_alloc(size_t size) {
  size = round_up(size, 64);
  if (size > meta.left) {
    char* chunk = guarded_reserve(CHUNK_SIZE);
    if (chunk == NULL) return NULL;
    region_t* r = (region_t*)chunk;
    *r = (region_t){meta.regions, chunk, CHUNK_SIZE};
    meta.regions = r;
    meta.chunk = chunk + round_up(sizeof(region_t), 64);
    meta.left = CHUNK_SIZE - round_up(sizeof(region_t), 64);
  }
  void* p = meta.chunk;
  meta.chunk += size;
  meta.left -= size;
  return p;
}

/* Metadata counts too. Of a region, only what is touched becomes resident. */
static bool may_grow(size_t size) {
  if (likely(!usage_is_on())) return true;
  if (usage_touches(size)) meta_measure();
  return usage_has_room(size);
}

INTERNAL void* meta_reserve(size_t size) {
  if (!may_grow(os_info.page_size)) return NULL;
  size = round_up(size, os_info.page_size);
  char* p = NULL;
  os_lock(&meta_lock);
  region_t* r = bump_alloc(sizeof(region_t));
  if (r != NULL && (p = guarded_reserve(size)) != NULL) {
    *r = (region_t){meta.regions, p, size};
    meta.regions = r;
  }
  os_unlock(&meta_lock);
  return p;
}

INTERNAL void* meta_alloc(size_t size) {
  if (size > CHUNK_SIZE / 8) return meta_reserve(size);
  if (!may_grow(size)) return NULL;
  os_lock(&meta_lock);
  void* p = bump_alloc(size);
  os_unlock(&meta_lock);
  return p;
}

/* The region_t of a region lies in the region itself or in an older one. The list begins with the
 * newest region, so the rest of the list is still mapped at each step. */
INTERNAL void meta_unload(void) {
  size_t guard = os_info.page_size;
  for (region_t *r = meta.regions, *next; r != NULL; r = next) {
    next = r->next;
    os_release(r->start - guard, r->size + 2 * guard);
  }
  memset(&meta, 0, sizeof(meta));
}

/* The caller holds meta_lock. */
static size_t resident(void) {
  size_t total = 0;
  for (region_t* r = meta.regions; r != NULL; r = r->next) total += os_resident(r->start, r->size);
  return total;
}

INTERNAL size_t meta_resident(void) {
  os_lock(&meta_lock);
  size_t total = resident();
  os_unlock(&meta_lock);
  return total;
}

INTERNAL void meta_measure(void) {
  os_lock(&meta_lock);
  usage_measured(resident());
  os_unlock(&meta_lock);
}
