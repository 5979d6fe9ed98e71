/* cxx_runtime.h - the C++ runtime of the code that calls us: its new-handler, its exceptions. */
#ifndef MI_CXX_RUNTIME_H
#define MI_CXX_RUNTIME_H

#include "base.h"

/* Of the function that it stands in. Its address tells which of several runtimes is meant. */
#define CALLER __builtin_return_address(0)

typedef void (*new_handler_t)(void);
/* The handler that the runtime of `caller` has; NULL: none, or no runtime. */
INTERNAL new_handler_t runtime_new_handler(const void* caller);
/* Throws std::bad_alloc; returns if there is no runtime to do it. */
INTERNAL void runtime_throw_bad_alloc(const void* caller);

#endif
