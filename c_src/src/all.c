/* all.c - the library as one translation unit: what build.rs and every CMake target compile.
 *
 * The list is the whole library, from the ground floor up; LAYERS beside this file says which
 * room may use which. Of the sources in os/ all but one are empty, see os/system.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MI_ONE_UNIT 1

#include "bitmap.c"
#include "os/unix.c"
#include "os/elf.c"
#include "os/windows.c"
#include "os/wasi.c"
#include "log.c"
#include "options.c"
#include "random.c"
#include "meta.c"
#include "map.c"
#include "stretch.c"
#include "arena.c"
#include "slices.c"
#include "page.c"
#include "secure.c"
#include "quarantine.c"
#include "unowned.c"
#include "heap.c"
#include "check.c"
#include "guarded.c"
#include "thread.c"
#include "heaps.c"
#include "large.c"
#include "alloc.c"
#include "free.c"
#include "aligned.c"
#include "realloc.c"
#include "posix.c"
#include "cxx_runtime.c"
#include "cxx_catch.c"
#include "cxx.c"
#include "reserve.c"
#include "ublock.c"
#include "visit.c"
#include "stats.c"
#include "report.c"
#include "override.c"
#include "override_cxx.c"
#include "override_dl.c"
