/* unowned.h - finds unowned pages that have free blocks. */
#ifndef MI_UNOWNED_H
#define MI_UNOWNED_H

#include "page.h"

/* Makes an unowned page findable. A hint: the page may be claimed or gone a moment later. */
INTERNAL void unowned_offer(uint16_t arena, size_t class, uint32_t slice);
/* Claims some unowned page of `class` after a bounded number of probes; NULL if none was met.
 * `*taken` are the blocks that were freed while it was unowned. */
INTERNAL page_t* unowned_claim(size_t class, block_t** taken);

#endif
