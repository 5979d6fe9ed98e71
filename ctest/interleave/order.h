/* order.h - which thread goes on, and which orders are tried.
 *
 * Depth first without stored states: an execution follows the choices of the one before up to the
 * last point at which there is another choice. Two ways to limit the choices:
 *   bounded    a thread that could go on is left at most so many times (preemptions). All orders
 *              within the bound are tried; if none was left out the search was complete.
 *   all        any number of times, but of orders that differ only in steps that commute one is
 *              enough (dynamic partial order reduction, see there).
 *
 * A thread that finds nothing to do (os_nap) goes on when another one has written to a word that
 * it has read since it last waited: before that it could only find the same again. If no thread can
 * go on, the threads wait for each other for ever.
 */
#ifndef INTERLEAVE_ORDER_H
#define INTERLEAVE_ORDER_H

#include "state.h"

/* ---- who goes on ---- */

int engine_thread(void) { return e->exploring ? e->current : DRIVER; }

static struct lock_s* lock_of(void* lock) {
  size_t i = 0;
  while (e->locks[i].lock != NULL && e->locks[i].lock != lock) i++;
  if (e->locks[i].lock == NULL) e->locks[i] = (struct lock_s){lock, -1, {0}};
  return &e->locks[i];
}

bool engine_is_locked(void) {
  for (size_t i = 0; i < LOCKS_MAX && e->locks[i].lock != NULL; i++)
    if (e->locks[i].holder >= 0) return true;
  return false;
}

static bool is_enabled(int t) {
  thread_t* thread = &e->thread[t];
  if (!thread->live) return false;
  if (thread->waits) return thread->woken;
  return !thread->next.is_lock || lock_of((void*)thread->next.address)->holder < 0;
}

static bool depend(const access_t* a, const access_t* b) {
  return a->address != 0 && a->address == b->address && (a->kind == WRITE || a->kind != b->kind);
}

static uint8_t bit(int t) { return (uint8_t)(1u << t); }

/* The choice at this point: as before, or the first one of a new node. */
static uint8_t choose_among(const uint8_t* options, uint8_t count) {
  if (count == 1) return options[0];
  if (e->depth == NODES_MAX) engine_violation("more than %d choices", NODES_MAX);
  node_t* node = &e->nodes[e->depth++];
  if (e->depth > e->length) {
    node->index = 0;
    node->count = count;
    memcpy(node->options, options, sizeof(node->options));
    e->length = e->depth;
  } else if (node->count != count || memcmp(node->options, options, count) != 0) {
    engine_violation("the engine does not meet the same choices again");
  }
  return node->options[node->index];
}

/* ---- all orders but for steps that commute ----
 *
 * Two points of an execution are ordered if they are one thread's, depend on each other, or are
 * linked by others that do. An order that keeps this one is the same execution. So another choice
 * is wanted at a point only where a later one of another thread depends on it and is not ordered
 * after it otherwise: there the later one, or what must come before it, is tried first (dynamic
 * partial order reduction with source sets). What was tried sleeps until something happens that it
 * depends on. Points are numbered from 1. */

static void join(uint32_t* into, const uint32_t* from) {
  for (int t = 0; t < THREADS_MAX; t++)
    if (into[t] < from[t]) into[t] = from[t];
}

static node_t* node_at(size_t number) { return &e->nodes[number - 1]; }

/* Point `i` depends on the earlier point `j` and might come first. */
static void want_before(size_t j, size_t i) {
  node_t *early = node_at(j), *late = node_at(i);
  uint8_t initials = 0;
  size_t first[THREADS_MAX] = {0}; /* of each thread, of the points after j that do not need j */
  for (size_t k = j + 1; k <= i; k++) {
    node_t* node = node_at(k);
    int t = node->chosen;
    if ((k < i && node->order[early->chosen] >= j) || first[t] != 0) continue;
    first[t] = k;
    bool is_initial = true;
    for (int other = 0; other < e->threads; other++)
      if (other != t && first[other] != 0 && node->order[other] >= first[other]) is_initial = false;
    if (is_initial) initials |= bit(t);
  }
  initials &= early->enabled;
  if ((early->enabled & bit(late->chosen)) == 0 || initials == 0)
    early->wanted |= early->enabled; /* it cannot simply go first: anything may be needed */
  else if ((initials & early->wanted) == 0)
    early->wanted |=
        (initials & bit(late->chosen)) != 0 ? bit(late->chosen) : initials & (uint8_t)-initials;
}

/* The order of the point that was just chosen, and what is wanted because of it. */
static void order_point(size_t i) {
  node_t* node = node_at(i);
  thread_t* thread = &e->thread[node->chosen];
  size_t races[NODES_MAX], count = 0;
  word_t* w = word_of(node->access.address);
  if (w->execution != e->execution) w->last = 0;
  w->execution = e->execution;
  node->before = w->last;
  w->last = i;
  for (size_t j = node->before; j != 0; j = node_at(j)->before) {
    node_t* other = node_at(j);
    if (other->chosen == node->chosen || !depend(&other->access, &node->access)) continue;
    if (thread->order[other->chosen] < j) races[count++] = j;
    join(thread->order, other->order);
  }
  if (node->access.is_lock) join(thread->order, lock_of((void*)node->access.address)->order);
  thread->order[node->chosen] = (uint32_t)i;
  memcpy(node->order, thread->order, sizeof(node->order));
  for (size_t k = 0; k < count; k++) want_before(races[k], i);
}

static int choose_all(uint8_t enabled) {
  if (e->depth == NODES_MAX) engine_violation("more than %d points", NODES_MAX);
  node_t* node = &e->nodes[e->depth];
  if (e->depth == e->length) {
    uint8_t awake = (uint8_t)(enabled & ~e->sleeping);
    if (awake == 0) _longjmp(e->driver, END_REDUNDANT);
    bool goes_on = e->running >= 0 && (awake & bit(e->running)) != 0;
    node->chosen = (uint8_t)(goes_on ? e->running : __builtin_ctz(awake));
    node->enabled = enabled;
    node->wanted = e->naive ? enabled : bit(node->chosen);
    node->done = 0;
    e->length++;
  } else if (node->enabled != enabled) {
    engine_violation("the engine does not meet the same choices again");
  }
  e->depth++;
  node->asleep = e->sleeping;
  node->access = e->thread[node->chosen].next;
  uint8_t sleeping = e->sleeping | node->done;
  e->sleeping = 0;
  for (int t = 0; t < e->threads; t++)
    if ((sleeping & bit(t)) != 0 && !depend(&e->thread[t].next, &node->access))
      e->sleeping |= bit(t);
  order_point(e->depth);
  return node->chosen;
}

/* The current thread's last point ends the wait of `thread`: what follows is ordered after that
 * point, and another point might have ended the wait. */
static void order_wake(thread_t* thread) {
  if (!e->all || e->depth == 0) return;
  memcpy(thread->woken_by, e->thread[e->current].order, sizeof(thread->woken_by));
  node_at(e->depth)->wanted |= node_at(e->depth)->enabled;
}

static int choose(void) {
  uint8_t enabled = 0, options[THREADS_MAX] = {0}, count = 0;
  for (int t = 0; t < e->threads; t++)
    if (is_enabled(t)) enabled |= bit(t);
  if (enabled == 0) {
    for (int t = 0; t < e->threads; t++)
      if (e->thread[t].live) engine_violation("the threads wait for each other for ever");
    _longjmp(e->driver, END_DONE);
  }
  /* Up to its first point a thread does nothing that others could notice. */
  for (int t = 0; t < e->threads; t++)
    if ((enabled & bit(t)) != 0 && e->thread[t].next.address == 0) return t;
  int c = e->running, next;
  bool goes_on = c >= 0 && (enabled & bit(c)) != 0;
  if (e->all) {
    next = choose_all(enabled);
  } else {
    if (goes_on) options[count++] = (uint8_t)c;
    for (int t = 0; t < e->threads; t++) {
      if (t == c || (enabled & bit(t)) == 0) continue;
      if (goes_on && e->preemptions >= e->bound)
        e->left_out = true;
      else
        options[count++] = (uint8_t)t;
    }
    next = choose_among(options, count);
  }
  if (goes_on && next != c) e->preemptions++;
  e->running = next;
  e->points++;
  return next;
}

#endif
