/* free_default.h - what mi_free does in the default build. */
#ifndef MI_FREE_DEFAULT_H
#define MI_FREE_DEFAULT_H

#include "../heap/heap_free.h"

static inline void free_entry(void* p) { free_block(p); }

#endif
