/* abandoned.h - finds abandoned pages that have free blocks. */
#pragma once

#include "page.h"

/* Publishes an abandoned page. A hint: the page may be claimed or released a moment later. */
INTERNAL void abandoned_publish(uint16_t arena, size_t cls, uint32_t slice);
/* Owner: an empty page is released; any other is abandoned, and published if it is worth claiming.
 * The page must be in no list. The caller must not read it afterwards. `sparse`: it may get holes,
 * too. */
INTERNAL void abandon_page_as(page_t* page, bool sparse);
static inline void abandon_page(page_t* page) { abandon_page_as(page, page_is_sparse(page)); }
/* Publishes an abandoned page that may get holes. A hint as well. */
INTERNAL void sparse_publish(uint16_t arena, uint32_t slice);
/* Frees a block of a page that this thread does not own. Publishes or releases the page, if the
 * block makes a difference. `reclaim`, PUSH_TAKEN: see page_push_remote. The result may be about a
 * page that another thread has released meanwhile. */
INTERNAL push_t remote_free(page_t* page, block_t* block, bool reclaim);
/* Claims an abandoned page of the class, within a bounded number of probes; NULL if none was found.
 */
INTERNAL page_t* abandoned_claim(size_t cls);
