/* checker.h - tells a memory checker which memory is a block, so that it finds the program's
 * errors.
 *
 * Owns:    nothing.
 * Always:  without a checker, the default, the macros expand to nothing. The checker gets the
 *          requested size of a block; once the program asks for the usable size, it may use all of
 *          that.
 *
 * The library itself reads and writes freed memory. Valgrind ignores accesses between track_enter
 * and track_leave. AddressSanitizer checks only code that is compiled for it, which this library
 * is not, and calls of memcpy and memset, before which the library opens the memory.
 */
#pragma once

#include "base.h"

#define MI_TRACK (MI_TRACK_VALGRIND || MI_TRACK_ASAN)

#if MI_TRACK_VALGRIND && MI_TRACK_ASAN
#error "one memory checker at a time"
#elif MI_TRACK_VALGRIND
#include <valgrind/memcheck.h>
#define TRACK_TOOL "valgrind"
#define track_enter() VALGRIND_DISABLE_ERROR_REPORTING
#define track_leave() VALGRIND_ENABLE_ERROR_REPORTING
static inline void track_open(const void* p, size_t size) {
  (void)VALGRIND_MAKE_MEM_DEFINED(p, size);
}
static inline void track_hide(const void* p, size_t size) {
  (void)VALGRIND_MAKE_MEM_NOACCESS(p, size);
}
static inline void track_alloc(const void* p, size_t size, size_t usable, bool zero) {
  if (usable > size) track_hide((const char*)p + size, usable - size);
  VALGRIND_MALLOCLIKE_BLOCK(p, size, 0, zero);
}
/* False if the checker knows that this is no live block, and has not reported it. */
static inline bool track_free(const void* p, size_t usable) {
  (void)usable;
  VALGRIND_FREELIKE_BLOCK(p, 0);
  return true;
}
#elif MI_TRACK_ASAN
#include <sanitizer/asan_interface.h>
#define TRACK_TOOL "asan"
#define track_enter() ((void)0)
#define track_leave() ((void)0)
static inline void track_open(const void* p, size_t size) {
  __asan_unpoison_memory_region(p, size);
}
static inline void track_hide(const void* p, size_t size) { __asan_poison_memory_region(p, size); }
static inline void track_alloc(const void* p, size_t size, size_t usable, bool zero) {
  (void)zero;
  track_open(p, usable);
  if (usable > size) track_hide((const char*)p + size, usable - size);
}
static inline bool track_free(const void* p, size_t usable) {
  if (usable > 0 && __asan_address_is_poisoned(p)) return false;
  track_hide(p, usable);
  return true;
}
#else
#define TRACK_TOOL "none"
#define track_enter() ((void)0)
#define track_leave() ((void)0)
/* The program may use the memory from now on, or may not. */
#define track_open(p, size) ((void)(p), (void)(size))
#define track_hide(p, size) ((void)(p), (void)(size))
#define track_free(p, usable) ((void)(p), (void)(usable), true)
#define track_alloc(p, size, usable, zero) ((void)(p), (void)(size), (void)(usable), (void)(zero))
#endif

/* The value of `call`, in which the library accesses freed memory. */
#define untracked(call)                                                                            \
  __extension__({                                                                                  \
    track_enter();                                                                                 \
    __typeof__(call) value_ = (call);                                                              \
    track_leave();                                                                                 \
    value_;                                                                                        \
  })
