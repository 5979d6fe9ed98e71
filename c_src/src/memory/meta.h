/* meta.h - memory for the library's own metadata: away from blocks, and kept until the library is
 * unloaded. */
#pragma once

#include "../os/os.h"

static os_lock_t meta_lock;

/* Zeroed memory, aligned to a cache line, never freed; NULL if the system has no more. */
INTERNAL void* meta_alloc(size_t size);
/* A region of its own between guard pages, zero, resident only where touched; NULL if the system
 * has no more. */
INTERNAL void* meta_reserve(size_t size);
/* Unmaps all metadata; the library must not use it afterwards. */
INTERNAL void meta_unload(void);
/* The number of resident bytes of metadata. */
INTERNAL size_t meta_resident(void);
/* Puts that number into the count of usage.h. */
INTERNAL void meta_measure(void);
