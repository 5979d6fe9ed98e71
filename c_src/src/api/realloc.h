/* realloc.h - realloc as glibc documents it, where mi_realloc differs. */
#pragma once

#include "../os/os.h"

/* NetBSD's reallocarr by these functions; returns the error and leaves errno to them. */
INTERNAL int reallocarr_by(void* p, size_t count, size_t size, void* (*reallocate)(void*, size_t),
                           void (*release)(void*));

#if MI_MALLOC_OVERRIDE && OS_LIKE_GLIBC
/* mi_realloc, but a block that is resized to 0 bytes is freed: NULL. */
INTERNAL void* realloc_or_free(void* p, size_t newsize);
#endif
