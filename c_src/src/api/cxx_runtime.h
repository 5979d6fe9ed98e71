/* cxx_runtime.h - the C++ runtime of the calling code: its new-handler, its exceptions. */
#pragma once

#include "../base/base.h"

/* The return address of the function that uses it. It tells which of several runtimes is meant. */
#define CALLER __builtin_return_address(0)

typedef void (*new_handler_t)(void);
/* The new-handler of the runtime of `caller`; NULL: no handler, or no runtime. */
INTERNAL new_handler_t runtime_new_handler(const void* caller);
/* Throws std::bad_alloc; returns if `caller` has no runtime. */
INTERNAL void runtime_throw_bad_alloc(const void* caller);
