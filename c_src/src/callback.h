/* callback.h - a registered function and its argument, changed together.
 *
 * Threads: any may read at any time and waits for no other thread. Registrations are made under
 *          log_lock.
 *
 * Registrations go round a few slots, and the count of them says which slot is the last one. A
 * reader takes the count, then the two words of the slot, then looks at the count again. A later
 * registration writes the same slot only after those between have raised the count by
 * CALLBACK_SLOTS - 1, and it writes with release what the reader loads with acquire. So a reader
 * that has seen a word of it sees the higher count too, and begins again; it does so only after
 * that many registrations.
 */
#ifndef MI_CALLBACK_H
#define MI_CALLBACK_H

#include "atomic.h"
#include "base.h"

#define CALLBACK_SLOTS 4

typedef struct callback_s {
  _Atomic(size_t) count;
  struct {
    _Atomic(uintptr_t) function, argument;
  } slot[CALLBACK_SLOTS];
} callback_t;

/* The caller holds log_lock. */
static inline void callback_set(callback_t* c, uintptr_t function, void* argument) {
  size_t n = load_relaxed(&c->count) + 1; /* changed under the lock only */
  /* Release: the count before these writes travels with them. */
  store_release(&c->slot[n % CALLBACK_SLOTS].function, function);
  store_release(&c->slot[n % CALLBACK_SLOTS].argument, (uintptr_t)argument);
  store_release(&c->count, n); /* pairs with the first acquire in callback_get: the slot */
}

/* The function, 0 if none is registered, and its argument. */
static inline uintptr_t callback_get(callback_t* c, void** argument) {
  for (;;) {
    size_t n = load_acquire(&c->count);
    uintptr_t function = load_acquire(&c->slot[n % CALLBACK_SLOTS].function);
    *argument = (void*)load_acquire(&c->slot[n % CALLBACK_SLOTS].argument);
    /* Relaxed: the acquires above keep this second look after them. */
    if (load_relaxed(&c->count) - n < CALLBACK_SLOTS - 1) return function;
  }
}

#endif
