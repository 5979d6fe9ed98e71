/* clocks.h - what each thread can know of the other threads' actions.
 *
 * Races. Each thread has a vector clock, each atomic word the clocks that were released into it, by
 * the orders that the source names: a release that is only relaxed carries nothing. Two plain
 * accesses, or a plain and an atomic one, of which one writes and which are not ordered by that,
 * are a race. So orders too weak to carry what a plain access needs are found although the machine
 * that this runs on would forgive them.
 *
 * Old values. A search of its own lets loads return what a word was before, as far as C11 allows
 * it, a stated number of times in an execution: nothing that the thread knows of may have come in
 * between. Exchanges see the last value, also those that fail.
 */
#ifndef INTERLEAVE_CLOCKS_H
#define INTERLEAVE_CLOCKS_H

#include "order.h"

static sync_t* sync_of(uintptr_t address) {
  size_t i = hash(address);
  while (e->syncs[i].execution == e->execution && e->syncs[i].address != address)
    i = (i + 1) % TABLE_SIZE;
  sync_t* s = &e->syncs[i];
  if (s->execution != e->execution) {
    memset(s, 0, sizeof(*s));
    s->execution = e->execution;
    s->address = address;
  }
  return s;
}

static bool acquires(int order) {
  return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order >= __ATOMIC_ACQ_REL;
}
static bool releases(int order) { return order >= __ATOMIC_RELEASE; }

static void sync_load(uintptr_t address, int order) {
  if (acquires(order)) join(e->thread[e->current].clock, sync_of(address)->clock);
}

/* `exchange`: what was released before travels on, whatever the order. */
static void sync_store(uintptr_t address, int order, bool exchange) {
  sync_t* s = sync_of(address);
  uint32_t* clock = e->thread[e->current].clock;
  if (!exchange) memset(s->clock, 0, sizeof(s->clock));
  if (!releases(order)) return;
  join(s->clock, clock);
  clock[e->current]++;
}

static store_t* store_at(sync_t* s, size_t number) { return &s->store[number % STORES_MAX]; }

static void add_store(sync_t* s, uint64_t value, int thread, uint32_t when) {
  store_t* store = store_at(s, ++s->stores);
  *store = (store_t){value, thread, when, {0}};
  memcpy(store->released, s->clock, sizeof(store->released));
}

/* After each store and each exchange, which see the last value. `when`: the clock before it. */
static void note_store(uintptr_t address, uint64_t was, uint64_t value, int order, uint32_t when) {
  if (e->stale == 0) return;
  sync_t* s = sync_of(address);
  if (s->stores == 0) add_store(s, was, DRIVER, 0);
  add_store(s, value, e->current, when);
  s->seen[e->current] = s->stores;
  if (order == __ATOMIC_SEQ_CST) s->last_seq_cst = s->stores;
}

/* A load sees the last value, or an older one if nothing tells the thread that there is a newer
 * one: no store that comes before it, nothing that it has seen itself, and for loads in the one
 * order of sequentially consistent accesses no such store. */
static uint64_t load_some(uintptr_t address, uint64_t last, int order) {
  thread_t* self = &e->thread[e->current];
  sync_t* s = e->stale == 0 ? NULL : sync_of(address);
  if (s == NULL || s->stores == 0 || e->stale_left == 0) {
    if (s != NULL) s->seen[e->current] = s->stores;
    sync_load(address, order);
    return last;
  }
  size_t oldest = s->stores;
  while (oldest > 1 && s->stores - oldest + 1 < THREADS_MAX && oldest > s->seen[e->current] &&
         !(order == __ATOMIC_SEQ_CST && oldest == s->last_seq_cst)) {
    const store_t* store = store_at(s, oldest);
    if (store->thread == DRIVER || store->when <= self->clock[store->thread]) break;
    oldest--;
  }
  static const uint8_t ages[THREADS_MAX] = {0, 1, 2};
  size_t number = s->stores - choose_among(ages, (uint8_t)(s->stores - oldest + 1));
  if (number < s->stores) {
    e->stale_left--;
    self->woken = true; /* should it wait: there is something new to see */
  }
  s->seen[e->current] = number;
  if (acquires(order)) join(self->clock, store_at(s, number)->released);
  return store_at(s, number)->value;
}

static uint32_t own_clock(void) { return e->thread[e->current].clock[e->current]; }

/* ---- races ---- */

static shadow_t* shadow_of(uintptr_t address) {
  size_t i = hash(address), probes = 0;
  while (e->shadows[i].execution == e->execution && e->shadows[i].address != address) {
    i = (i + 1) % TABLE_SIZE;
    if (++probes > TABLE_SIZE / 2) engine_violation("too many accesses for the race detector");
  }
  shadow_t* s = &e->shadows[i];
  if (s->execution != e->execution) {
    memset(s, 0, sizeof(*s));
    s->execution = e->execution;
    s->address = address;
  }
  return s;
}

/* True when another thread did this to these bytes and the current one cannot know. */
static bool is_unordered(const shadow_t* s, int kind, uint8_t bytes) {
  for (int t = 0; t < e->threads; t++)
    if (t != e->current && (s->by[kind][t].bytes & bytes) != 0 &&
        s->by[kind][t].clock > e->thread[e->current].clock[t])
      return true;
  return false;
}

static const char* const access_name[ACCESS_KINDS] = {"read", "write", "atomic read",
                                                      "atomic write"};

static void check_race(uintptr_t address, size_t size, int kind, void* pc) {
  while (size > 0) {
    size_t offset = address & 7, n = size < 8 - offset ? size : 8 - offset;
    uint8_t bytes = (uint8_t)(((1u << n) - 1) << offset);
    shadow_t* s = shadow_of(address - offset);
    bool writes = kind == PLAIN_WRITE || kind == ATOMIC_WRITE;
    bool plain = kind == PLAIN_READ || kind == PLAIN_WRITE;
    for (int other = 0; other < ACCESS_KINDS; other++) {
      bool other_writes = other == PLAIN_WRITE || other == ATOMIC_WRITE;
      bool other_plain = other == PLAIN_READ || other == PLAIN_WRITE;
      if ((writes || other_writes) && (plain || other_plain) && is_unordered(s, other, bytes)) {
        note_step(pc, true);
        engine_violation("data race: thread %d's %s of %zu bytes at %p and another's %s",
                         e->current, access_name[kind], n, (void*)address, access_name[other]);
      }
    }
    seen_t* mine = &s->by[kind][e->current];
    uint32_t clock = e->thread[e->current].clock[e->current];
    *mine = (seen_t){clock, mine->clock == clock ? mine->bytes | bytes : bytes};
    address += n;
    size -= n;
  }
}

#endif
