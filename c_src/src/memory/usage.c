/* usage.c - see usage.h. */
#include "usage.h"

static struct {
  _Alignas(64) _Atomic(size_t) hard; /* less the allowance; SIZE_MAX: none. Rarely written */
  _Atomic(size_t) soft;              /* SIZE_MAX: none */
  _Atomic(uintptr_t) crossed_by;     /* the thread that has crossed it; 0: none */
  _Atomic(uint32_t) armed;           /* the next crossing counts */
  _Atomic(bool) on;
  _Alignas(64) _Atomic(size_t) count;
  _Atomic(size_t) touched; /* bytes of metadata, since the last measurement; at most */
  size_t metadata;         /* bytes at the last measurement; under meta_lock */
} usage = {.hard = SIZE_MAX, .soft = SIZE_MAX};

INTERNAL bool usage_is_on(void) { return load_relaxed(&usage.on); }

INTERNAL void usage_start(void) { store_relaxed(&usage.on, true); }

INTERNAL size_t usage_count(void) { return load_relaxed(&usage.count); }

static bool fits(size_t count, size_t bytes) {
  size_t hard = load_relaxed(&usage.hard);
  return bytes <= hard && count <= hard - bytes;
}

INTERNAL bool usage_has_room(size_t bytes) { return fits(load_relaxed(&usage.count), bytes); }

static void look_at_soft_limit(size_t count) {
  if (likely(count <= load_relaxed(&usage.soft))) return;
  uint32_t armed = true;
  if (load_relaxed(&usage.armed) && cas_relaxed(&usage.armed, &armed, false))
    store_relaxed(&usage.crossed_by, os_thread_id());
}

INTERNAL bool usage_charge(size_t bytes) {
  size_t count = load_relaxed(&usage.count);
  do {
    if (!fits(count, bytes)) return false;
  } while (!cas_weak_relaxed(&usage.count, &count, count + bytes));
  look_at_soft_limit(count + bytes);
  return true;
}

INTERNAL void usage_add(size_t bytes) {
  look_at_soft_limit(add_relaxed(&usage.count, bytes) + bytes);
}

INTERNAL void usage_discharge(size_t bytes) {
  size_t count = sub_relaxed(&usage.count, bytes) - bytes, soft = load_relaxed(&usage.soft);
  if (!load_relaxed(&usage.armed) && count <= soft - soft / 16) store_relaxed(&usage.armed, true);
}

INTERNAL bool usage_touches(size_t bytes) {
  return add_relaxed(&usage.touched, bytes) + bytes > USAGE_ALLOWANCE / 2;
}

INTERNAL void usage_measured(size_t bytes) {
  add_relaxed(&usage.count, bytes - usage.metadata); /* less than 0 too */
  usage.metadata = bytes;
  store_relaxed(&usage.touched, 0);
}

INTERNAL void usage_set_limits(size_t soft, size_t hard) {
  if (soft == 0) soft = SIZE_MAX;
  if (soft != load_relaxed(&usage.soft)) {
    store_relaxed(&usage.soft, soft);
    store_relaxed(&usage.armed, true);
    store_relaxed(&usage.crossed_by, 0);
  }
  store_relaxed(&usage.hard, hard == 0 ? SIZE_MAX : hard - min_size(hard, USAGE_ALLOWANCE));
}

INTERNAL size_t usage_soft_limit(void) { return load_relaxed(&usage.soft); }

INTERNAL uintptr_t usage_crossed_by(void) { return load_relaxed(&usage.crossed_by); }

INTERNAL bool usage_take_crossing(uintptr_t thread) {
  return thread != 0 && cas_relaxed(&usage.crossed_by, &thread, 0);
}

INTERNAL void usage_recount(size_t bytes) { store_relaxed(&usage.count, bytes + usage.metadata); }

INTERNAL void usage_clear(void) {
  memset(&usage, 0, sizeof(usage));
  store_relaxed(&usage.hard, SIZE_MAX);
  store_relaxed(&usage.soft, SIZE_MAX);
}
