/* new_handler.c - the new-handler of a C program, which the library finds by its C++ name. */
#include "arena_blocks.h"

/* ---- C++ ------------------------------------------------------------------------------------ */

/* The library looks here for the program's new-handler; a C program has none. */
static void (*new_handler)(void);

void (*_ZSt15get_new_handlerv(void))(void);

void (*_ZSt15get_new_handlerv(void))(void) { return new_handler; }

static size_t handler_calls;

static void allow_more(void) {
  handler_calls++;
  allow_os();
}

/* cxx-retry-forgets-alignment */
static void retry_after_the_new_handler_is_aligned(void) {
  new_handler = &allow_more;
  mi_option_set(mi_option_disallow_os_alloc, 1);
  void* p = mi_new_aligned(3 * GIB, GIB);
  CHECK_EQ(handler_calls, 1);
  CHECK(p != NULL && is_aligned(p, GIB));
  mi_free(p);
  mi_option_set(mi_option_disallow_os_alloc, 1);
  p = mi_new_aligned_nothrow(3 * GIB, GIB);
  CHECK_EQ(handler_calls, 2);
  CHECK(p != NULL && is_aligned(p, GIB));
  mi_free(p);
}

static const check_case_t cases[] = {
    CASE(retry_after_the_new_handler_is_aligned),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), cases, 0);
}
