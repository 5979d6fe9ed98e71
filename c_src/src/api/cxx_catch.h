/* cxx_catch.h - catches any exception. */
#pragma once

#include "../base/base.h"

#if MI_MALLOC_OVERRIDE
typedef void* attempt_t(size_t size, size_t align, const void* caller);
/* Returns what `attempt` returns; NULL if it throws. */
INTERNAL void* exception_catch(attempt_t* attempt, size_t size, size_t align, const void* caller);
#endif
