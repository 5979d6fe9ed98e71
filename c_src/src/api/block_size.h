/* block_size.h - the size of a block, and whether a pointer is to a live block. */
#pragma once

#include "../page/page.h"

/* The page of a live block, or NULL after a report that names `what`. */
INTERNAL page_t* block_page(const void* p, const char* what);
/* mi_usable_size of a block that the caller frees or resizes next. Returns 0 without a report for
 * anything but a live block: that next call reports it. */
INTERNAL size_t usable_if_live(const void* p);
