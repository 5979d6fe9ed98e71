/* violation.h - reports a violation of memory safety in a secure build: one line. Then the program
 * ends, unless it has registered an error handler.
 *
 * Always:  nothing here allocates.
 * Threads: any.
 */
#pragma once

#include "../memory/page_descriptor.h"
#include <errno.h>

#if MI_SECURE > 0
/* `kind`: what happened to the block; `what`: how it was found. */
INTERNAL void violation_report(int code, const char* kind, const char* what, const page_t* page,
                               const void* block);
/* `why`: what is wrong with the address; `what`: the call. Returns NULL. */
INTERNAL page_t* violation_invalid_free(const void* p, const char* why, const char* what);
/* For an address that is in no block. Returns NULL. */
INTERNAL page_t* violation_foreign(const void* p, const char* what);
INTERNAL void violation_freed_twice(const page_t* page, const void* p);
/* For a free list of `page` that contains a block which is in no list. Returns NULL. */
INTERNAL block_t* violation_bad_list(const page_t* page, const block_t* block);
#endif
INTERNAL void violation_size_mismatch(const page_t* page, const void* p, size_t size);
