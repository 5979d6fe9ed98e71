/* init.h - start and end of the process, and of each thread. */
#pragma once

#include "../heap/current.h"

/* Makes the heap of a thread that has none yet; NULL if there is no memory. */
INTERNAL heap_t* thread_start(void);
/* The calling thread's backing heap, made if there is none yet; NULL if there is no memory, and
 * after the thread's end. */
INTERNAL heap_t* thread_backing(void);
/* True if the heap belongs to the calling thread. Debug builds and level 4 report a heap of another
 * thread, which `what` it. */
INTERNAL bool heap_belongs_here(heap_t* heap, const char* what);

/* Called when the shared object with this library is unloaded, after its destructors have run.
 * Removes the hooks, and returns unused memory to the kernel. Blocks in use stay mapped. No other
 * thread may be inside the library. */
INTERNAL void process_unload(void);

/* The backing heap of the first thread, whose heap struct is never reused. Makes one if needed;
 * NULL if there is no memory. */
INTERNAL heap_t* process_main_heap(void);
INTERNAL uint64_t process_started_ms(void);
