/* cxx_catch.h - an exception ends here. */
#ifndef MI_CXX_CATCH_H
#define MI_CXX_CATCH_H

#include "base.h"

#if MI_MALLOC_OVERRIDE
typedef void* attempt_t(size_t size, size_t align, const void* caller);
/* What `attempt` returns; NULL if it ends by an exception. */
INTERNAL void* exception_catch(attempt_t* attempt, size_t size, size_t align, const void* caller);
#endif

#endif
