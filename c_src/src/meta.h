/* meta.h - memory for our own records: never beside user blocks, and kept as long as we are there.
 */
#ifndef MI_META_H
#define MI_META_H

#include "base.h"
#include "os/os.h"

INTERNAL_DATA os_lock_t meta_lock;

/* Zeroed, aligned to a cache line, for ever; NULL when the OS has no more. */
INTERNAL void* meta_alloc(size_t size);
/* Address space of its own between guard pages, zero, resident only where touched. */
INTERNAL void* meta_reserve(size_t size);
/* Gives all of it back to the system; none of it may be looked at any more. */
INTERNAL void meta_unload(void);
/* Bytes of metadata that are resident now. */
INTERNAL size_t meta_resident(void);

#endif
