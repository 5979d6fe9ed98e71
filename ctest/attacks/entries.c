/* entries.c - the ways in and out: C, aligned, first-class heaps, C++, Rust.
 *
 * Owns:    the table of entries.
 * Always:  all functions are those of the process, that is of the preloaded library, or of the C
 * and C++ runtime on top of its malloc.
 *
 * The entry "rust" makes the calls of the crate's GlobalAlloc (src/global.rs) for an alignment of
 * at most 8: those functions are the whole of the Rust side, so no Rust program is needed to attack
 * through it.
 */
#include "attack.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 };

/* dlsym returns a pointer to data. */
typedef union found_u {
  void* data;
  void* (*allocate)(size_t size);
  void* (*allocate_aligned)(size_t size, size_t alignment);
  void* (*allocate_in)(void* heap, size_t size);
  void* (*resize)(void* p, size_t size);
  void* (*resize_aligned)(void* p, size_t size, size_t alignment);
  void* (*resize_in)(void* heap, void* p, size_t size);
  void* (*make)(void);
  void (*release)(void* p);
  void (*release_sized)(void* p, size_t size);
  void (*release_sized_aligned)(void* p, size_t size, size_t alignment);
  void (*collect)(bool force);
} found_t;

static found_t find(const char* name) {
  found_t found;
  found.data = dlsym(RTLD_DEFAULT, name);
  return found;
}

/* Of the C++ runtime, by their mangled names. A library that has none of them is reached through
 * the runtime's own, which call malloc and free. */
static found_t find_cxx(const char* name) {
  found_t found = find(name);
  if (found.data == NULL && dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL) != NULL)
    found = find(name);
  if (found.data == NULL) broken("no C++ runtime");
  return found;
}

static struct {
  found_t heap_new, heap_malloc, heap_realloc;
  found_t free_size, free_size_aligned, realloc_aligned;
  found_t malloc_align8, realloc_align8, new_realloc;
  found_t new, new_array, new_aligned;
  found_t delete, delete_array, delete_sized, delete_aligned;
} api;

static void free_plain(void* p, size_t size) {
  (void)size;
  free(p);
}
static void free_size(void* p, size_t said) { api.free_size.release_sized(p, said); }
static void delete_plain(void* p) { api.delete.release(p); }
static void delete_array(void* p) { api.delete_array.release(p); }
static void delete_aligned(void* p) { api.delete_aligned.release_sized(p, ALIGNMENT); }
/* Every block of at least a byte is aligned to 16, Rust's to 8: this claims nothing wrong.
 */
static void delete_aligned_16(void* p) { api.delete_aligned.release_sized(p, 16); }
static void delete_aligned_8(void* p) { api.delete_aligned.release_sized(p, 8); }

static void* aligned_allocate(size_t size) {
  void* p = NULL;
  return posix_memalign(&p, ALIGNMENT, size) == 0 ? p : NULL;
}
static void* aligned_resize(void* p, size_t size) {
  if (api.realloc_aligned.data == NULL) return realloc(p, size);
  return api.realloc_aligned.resize_aligned(p, size, ALIGNMENT);
}
static void aligned_release_as(void* p, size_t said) {
  api.free_size_aligned.release_sized_aligned(p, said, ALIGNMENT);
}

/* Only the thread that made a heap may allocate from it. */
static void* heap_of_thread(void) {
  static _Thread_local void* heap;
  if (heap == NULL) heap = api.heap_new.make();
  return heap;
}
static void* heap_allocate(size_t size) {
  return api.heap_malloc.allocate_in(heap_of_thread(), size);
}
static void* heap_resize(void* p, size_t size) {
  return api.heap_realloc.resize_in(heap_of_thread(), p, size);
}

static void* new_allocate(size_t size) { return api.new.allocate(size); }
static void new_release(void* p, size_t size) {
  (void)size;
  api.delete.release(p);
}
static void* new_resize(void* p, size_t size) { return api.new_realloc.resize(p, size); }
static void new_release_as(void* p, size_t said) { api.delete_sized.release_sized(p, said); }
static void* new_allocate_array(size_t size) { return api.new_array.allocate(size); }
static void* new_allocate_aligned(size_t size) {
  return api.new_aligned.allocate_aligned(size, ALIGNMENT);
}

static void* rust_allocate(size_t size) { return api.malloc_align8.allocate(size); }
static void rust_release(void* p, size_t size) { api.free_size.release_sized(p, size); }
static void* rust_resize(void* p, size_t size) { return api.realloc_align8.resize(p, size); }

#define NOT_NEW "only operator new has another form for arrays"

entry_t entries[ENTRY_COUNT] = {
    {.name = "malloc",
     .allocate = malloc,
     .release = free_plain,
     .resize = realloc,
     .release_as = free_size,
     .release_other = delete_plain,
     .release_array = delete_array,
     .no_release_scalar = NOT_NEW,
     .release_aligned = delete_aligned_16},
    {.name = "aligned",
     .alignment = ALIGNMENT,
     .allocate = aligned_allocate,
     .release = free_plain,
     .resize = aligned_resize,
     .release_as = aligned_release_as,
     .release_other = delete_plain,
     .release_array = delete_array,
     .no_release_scalar = NOT_NEW,
     .release_aligned = delete_aligned},
    {.name = "heap",
     .allocate = heap_allocate,
     .release = free_plain,
     .resize = heap_resize,
     .release_as = free_size,
     .release_other = delete_plain,
     .release_array = delete_array,
     .no_release_scalar = NOT_NEW,
     .release_aligned = delete_aligned_16},
    {.name = "new",
     .allocate = new_allocate,
     .release = new_release,
     .resize = new_resize,
     .release_as = new_release_as,
     .release_other = free,
     .release_array = delete_array,
     .release_scalar = delete_plain,
     .release_aligned = delete_plain,
     .allocate_array = new_allocate_array,
     .allocate_aligned = new_allocate_aligned},
    {.name = "rust",
     .allocate = rust_allocate,
     .release = rust_release,
     .resize = rust_resize,
     .release_as = rust_release,
     .release_other = free,
     .release_array = delete_array,
     .no_release_scalar = NOT_NEW,
     .release_aligned = delete_aligned_8},
};

void entries_find(void) {
  api.heap_new = find("mi_heap_new");
  api.heap_malloc = find("mi_heap_malloc");
  api.heap_realloc = find("mi_heap_realloc");
  api.free_size = find("mi_free_size");
  if (api.free_size.data == NULL) api.free_size = find("free_sized"); /* of C23 */
  api.free_size_aligned = find("mi_free_size_aligned");
  api.realloc_aligned = find("mi_realloc_aligned");
  api.malloc_align8 = find("mi_malloc_align8");
  api.realloc_align8 = find("mi_realloc_align8");
  api.new_realloc = find("mi_new_realloc");
  api.new = find_cxx("_Znwm");
  api.new_array = find_cxx("_Znam");
  api.new_aligned = find_cxx("_ZnwmSt11align_val_t");
  api.delete = find_cxx("_ZdlPv");
  api.delete_array = find_cxx("_ZdaPv");
  api.delete_sized = find_cxx("_ZdlPvm");
  api.delete_aligned = find_cxx("_ZdlPvSt11align_val_t");

  for (int i = 0; i < ENTRY_COUNT; i++) {
    entry_t* e = &entries[i];
    bool sized = e->release_as == aligned_release_as ? api.free_size_aligned.data != NULL
                                                     : api.free_size.data != NULL;
    if (e->release_as != new_release_as && !sized)
      e->no_release_as = "the library has no sized free in C";
    if (e->allocate == new_allocate && api.new_realloc.data == NULL)
      e->no_resize = "C++ has no realloc";
    if (e->allocate == heap_allocate && (api.heap_new.data == NULL || api.heap_malloc.data == NULL))
      e->absent = "the library has no first-class heaps";
    if (e->allocate == rust_allocate && (api.malloc_align8.data == NULL || !sized))
      e->absent = "the calls of this project's GlobalAlloc are there in its own library only";
  }
}

static found_t collect;
static void collect_mi(void) { collect.collect(true); }
static void collect_libc(void) { malloc_trim(0); }

void (*collect_find(void))(void) {
  collect = find("mi_collect");
  if (collect.data != NULL) return collect_mi;
  /* The C library's own call is of use only where its malloc serves. */
  found_t trim = find("malloc_trim"), serving = find("malloc");
  Dl_info of_trim, of_malloc;
  if (trim.data == NULL || dladdr(trim.data, &of_trim) == 0 ||
      dladdr(serving.data, &of_malloc) == 0 || of_trim.dli_fbase != of_malloc.dli_fbase)
    return NULL;
  return collect_libc;
}
