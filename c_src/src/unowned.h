/* unowned.h - finds unowned pages that have free blocks. */
#ifndef MI_UNOWNED_H
#define MI_UNOWNED_H

#include "page.h"

/* Makes an unowned page findable. A hint: the page may be claimed or gone a moment later. */
INTERNAL void unowned_offer(uint16_t arena, size_t class, uint32_t slice);
/* Gives up a page that the caller owns and that is in no list: released if it is empty, else
 * unowned and, if it is worth claiming, findable. The caller must not look at it afterwards. */
INTERNAL void unowned_let_go(page_t* page);
/* Claims some unowned page of `class` after a bounded number of probes; NULL if none was met. */
INTERNAL page_t* unowned_claim(size_t class);

#endif
