/* callback.h - a registered function and its argument, changed together.
 *
 * Threads: any. A writer makes the sequence odd, writes, and makes it even again; a reader
 *          repeats while it is odd or has changed. Writers exclude each other by the odd number.
 * Uses:    atomic.h, os.h.          Used by: log, thread.
 */
#ifndef MI_CALLBACK_H
#define MI_CALLBACK_H

#include "atomic.h"
#include "base.h"
#include "os/os.h"

typedef struct callback_s {
  _Atomic(unsigned) sequence;
  _Atomic(uintptr_t) function;
  _Atomic(uintptr_t) argument;
} callback_t;

static inline void callback_set(callback_t* c, uintptr_t function, void* argument) {
  unsigned s = load_relaxed(&c->sequence);
  /* Acquire: the writes below stay behind the odd number. */
  while ((s & 1) != 0 || !cas_acquire(&c->sequence, &s, s + 1)) {
    os_yield();
    s = load_relaxed(&c->sequence);
  }
  /* Release on each word: a reader that sees one of them sees the odd number too. */
  store_release(&c->function, function);
  store_release(&c->argument, (uintptr_t)argument);
  store_release(&c->sequence, s + 2);
}

/* The function, 0 if none is registered, and its argument. */
static inline uintptr_t callback_get(callback_t* c, void** argument) {
  for (;;) {
    unsigned s = load_acquire(&c->sequence);
    uintptr_t f = load_acquire(&c->function);
    *argument = (void*)load_acquire(&c->argument);
    /* Relaxed: the acquires above keep this second look behind them. */
    if ((s & 1) == 0 && load_relaxed(&c->sequence) == s) return f;
    os_yield();
  }
}

/* In the child of a fork: a registration that another thread had begun is dropped. */
static inline void callback_reset_after_fork(callback_t* c) {
  unsigned s = load_relaxed(&c->sequence);
  if ((s & 1) == 0) return;
  store_relaxed(&c->function, 0);
  store_release(&c->sequence, s + 1);
}

#endif
