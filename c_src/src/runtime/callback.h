/* callback.h - a registered function and its argument, changed together.
 *
 * Owns:    nothing.
 * Always:  a reader gets a function with the argument that was registered with it.
 * Threads: any thread reads, and waits for no other thread; log_lock guards registrations.
 *
 * Argument: registrations use CALLBACK_SLOTS entries in turn. The count of registrations names the
 * latest entry. A reader loads the count, then the two words of the entry, then the count again.
 * A later registration writes the same entry only after CALLBACK_SLOTS - 1 registrations between
 * the two have raised the count. It writes the words with release, and the reader loads them with
 * acquire. So a reader that has seen one of its words also sees the higher count, and starts
 * again. It starts again only after that many registrations.
 */
#pragma once

#include "../base/atomic.h"
#include "../base/base.h"

#define CALLBACK_SLOTS 4

typedef struct callback_s {
  _Atomic(size_t) count;
  struct {
    _Atomic(uintptr_t) function, argument;
  } slot[CALLBACK_SLOTS];
} callback_t;

/* The caller holds log_lock. */
static inline void callback_set(callback_t* c, uintptr_t function, void* argument) {
  size_t n = load_relaxed(&c->count) + 1; /* changes under the lock only */
  /* Release: a reader that sees these writes sees the previous count too. */
  store_release(&c->slot[n % CALLBACK_SLOTS].function, function);
  store_release(&c->slot[n % CALLBACK_SLOTS].argument, (uintptr_t)argument);
  store_release(&c->count, n); /* pairs with the first acquire in callback_get */
}

/* The function, 0 if none is registered, and its argument. */
static inline uintptr_t callback_get(callback_t* c, void** argument) {
  for (;;) {
    size_t n = load_acquire(&c->count);
    uintptr_t function = load_acquire(&c->slot[n % CALLBACK_SLOTS].function);
    *argument = (void*)load_acquire(&c->slot[n % CALLBACK_SLOTS].argument);
    /* Relaxed: the acquires above keep this second load after them. */
    if (load_relaxed(&c->count) - n < CALLBACK_SLOTS - 1) return function;
  }
}
