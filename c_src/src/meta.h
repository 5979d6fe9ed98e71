/* meta.h - memory for our own records: never beside user blocks, never given back. */
#ifndef MI_META_H
#define MI_META_H

#include "base.h"
#include "os/os.h"

INTERNAL_DATA os_lock_t meta_lock;

/* Zeroed, aligned to a cache line, for ever; NULL when the OS has no more. */
INTERNAL void* meta_alloc(size_t size);
/* Address space of its own between guard pages, zero, resident only where touched. */
INTERNAL void* meta_reserve(size_t size);
/* Bytes of metadata that are resident now. */
INTERNAL size_t meta_resident(void);

#endif
