/* usable_variants.c - variants that also return the usable size, and mi_free_small.
 *
 * Threads: any.
 */
#include "aligned.h"
#include "block_size.h"

static void* with_usable_size(void* p, size_t* block_size) {
  if (p != NULL && block_size != NULL) *block_size = mi_usable_size(p);
  return p;
}

/* Defines mi_u<name>; `value` uses the parameters. */
#define DEFINE_USABLE(name, parameters, value)                                                     \
  void* mi_u##name(WITHOUT_PARENTHESES parameters, size_t* block_size) mi_attr_noexcept {          \
    return with_usable_size(value, block_size);                                                    \
  }
DEFINE_USABLE(malloc, (size_t size), malloc_in(heap_default, size))
DEFINE_USABLE(malloc_small, (size_t size), malloc_in(heap_default, size))
DEFINE_USABLE(zalloc_small, (size_t size), zalloc_in(heap_default, size))
DEFINE_USABLE(calloc, (size_t count, size_t size), mi_calloc(count, size))
DEFINE_USABLE(malloc_aligned, (size_t size, size_t alignment),
              malloc_aligned(heap_default, size, alignment))
DEFINE_USABLE(zalloc_aligned, (size_t size, size_t alignment),
              malloc_aligned_in(heap_default, size, alignment, 0, true))

void* mi_urealloc(void* p, size_t newsize, size_t* block_size_pre, size_t* block_size_post)
    mi_attr_noexcept {
  size_t before = usable_if_live(p);
  void* q = with_usable_size(mi_realloc(p, newsize), block_size_post);
  if (q != NULL && block_size_pre != NULL) *block_size_pre = before;
  return q;
}

void mi_ufree(void* p, size_t* block_size) mi_attr_noexcept {
  if (p != NULL && block_size != NULL) *block_size = usable_if_live(p);
  mi_free(p);
}

void mi_free_small(void* p) mi_attr_noexcept { mi_free(p); }
