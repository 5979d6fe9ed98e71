/* purge_pace.h - how long freed slices wait for their purge, and how many. */
#pragma once

#include "../base/base.h"

#define WAITING_MIN ((size_t)(16 * MiB / SLICE_SIZE)) /* so many slices may wait in any case */
/* Learns from the slices that were allocated again since the last call. `delay`: of the options. */
INTERNAL void pace_learn(uint64_t now, long delay);
/* The delay, longer while purged slices are soon allocated again. */
INTERNAL long pace_delay(long delay);
/* The number of waiting slices above the bound of a process in which no thread purges by itself. */
INTERNAL size_t pace_excess(void);
INTERNAL void pace_count_purged(size_t slices);
INTERNAL void pace_clear(void);
