/* cxx.h - what the C++ operators share with the C functions of the same protocol. */
#pragma once

#include "../base/base.h"

#if MI_MALLOC_OVERRIDE
/* After a failed nothrow request of `caller` (`align` 0: default alignment): calls the new-handler
 * and tries again, as long as there is a handler. NULL when there is none. A handler may throw. */
INTERNAL void* new_again_or_null(size_t size, size_t align, const void* caller);
/* mi_new and mi_new_aligned on behalf of `caller`. */
INTERNAL void* new_for(size_t size, const void* caller);
INTERNAL void* new_aligned_for(size_t size, size_t align, const void* caller);
#endif
