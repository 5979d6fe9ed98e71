/* current.c - see current.h. */
#include "current.h"

static heap_t heap_empty CACHE_ALIGNED APART;
static heap_t heap_ended CACHE_ALIGNED APART;
#if !OS_THREAD_WORD
static _Thread_local heap_t* heap_default = &heap_empty;
#endif
