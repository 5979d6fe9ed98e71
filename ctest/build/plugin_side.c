/* plugin_side.c - a plug-in with the allocator inside, which plugin.c loads and unloads. It is one
 * image with the library, as when a plug-in is linked with the static library.
 */
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* Blocks that the plug-in's own objects keep until they are destroyed with it. */
static void *freed_at_exit, *freed_by_destructor;

static void at_exit(void) {
  mi_free(freed_at_exit);
  mi_free(mi_malloc(100));
}

__attribute__((constructor)) static void construct(void) {
  freed_at_exit = mi_malloc(5000);
  freed_by_destructor = mi_malloc(300);
  atexit(&at_exit);
}

__attribute__((destructor)) static void destroy(void) {
  mi_free(freed_by_destructor);
  mi_free(mi_malloc(70000));
}

EXPORT void plugin_work(void);
EXPORT void plugin_work(void) {
  void* blocks[100];
  for (size_t i = 0; i < 100; i++) {
    size_t size = i * i * 7 + 1;
    blocks[i] = mi_malloc(size);
    if (blocks[i] == NULL) abort();
    memset(blocks[i], 1, size);
  }
  for (size_t i = 0; i < 100; i++) mi_free(blocks[i]);
  void* large = mi_malloc((size_t)3 << 20);
  memset(large, 1, (size_t)3 << 20);
  mi_free(large);
  mi_heap_t* heap = mi_heap_new();
  for (size_t i = 0; i < 100; i++)
    if (mi_heap_malloc(heap, i * 10 + 1) == NULL) abort();
  mi_heap_destroy(heap);
}

EXPORT void* plugin_allocate(size_t size);
EXPORT void* plugin_allocate(size_t size) { return mi_malloc(size); }
EXPORT void plugin_free(void* p);
EXPORT void plugin_free(void* p) { mi_free(p); }
