/* free_default.h - what mi_free does in the default build. */
#pragma once

#include "../heap/heap_free.h"

static inline void free_entry(void* p) { free_block(p); }
