/* config.h - the build's settings: 0, 1 or a number. build.rs and CMake use the same names. */
#pragma once

#ifndef MI_DEBUG /* 1: assertions; 2: internal assertions; 3: the heap walker too */
#define MI_DEBUG 0
#endif
/* 1 to 4: frees are checked, and a violation of memory safety ends the program */
#ifndef MI_SECURE
#define MI_SECURE 0
#endif
#ifndef MI_XMALLOC /* 1: a failed allocation ends the program */
#define MI_XMALLOC 0
#endif
#ifndef MI_SHOW_ERRORS /* the default of the option show_errors */
#define MI_SHOW_ERRORS 0
#endif
#ifndef MI_MALLOC_OVERRIDE /* 1: define the C and C++ allocation symbols */
#define MI_MALLOC_OVERRIDE 0
#endif
/* 1: define dlopen. Only in a library that the loader searches before the C library. */
#ifndef MI_DEEPBIND_OVERRIDE
#define MI_DEEPBIND_OVERRIDE 0
#endif
#ifndef MI_SKIP_COLLECT_ON_EXIT
#define MI_SKIP_COLLECT_ON_EXIT 0
#endif
_Static_assert(MI_DEBUG >= 0 && MI_DEBUG <= 3, "MI_DEBUG is 0 to 3");
_Static_assert(MI_SECURE >= 0 && MI_SECURE <= 4, "MI_SECURE is 0 to 4");
#ifndef MI_TRACK_VALGRIND /* 1: report blocks to memcheck */
#define MI_TRACK_VALGRIND 0
#endif
#ifndef MI_TRACK_ASAN /* 1: report blocks to AddressSanitizer */
#define MI_TRACK_ASAN 0
#endif
/* A memory checker checks the blocks and the bytes after the requested size itself. */
#if (MI_TRACK_VALGRIND || MI_TRACK_ASAN) && MI_SECURE > 1
#undef MI_SECURE
#define MI_SECURE 1
#endif
#define MI_CHECKED (MI_DEBUG > 0 || MI_SECURE > 0)
/* OS pages inside partly used pages go back, see page/holes.c. Memory checkers watch free blocks.
 */
#define MI_HOLES (!MI_TRACK_VALGRIND && !MI_TRACK_ASAN)
/* An empty active page is released. Checked builds keep it, and so recognise a second free in it.
 */
#define MI_RELEASES_EMPTY (MI_HOLES && !MI_CHECKED)
/* ---- what each secure level switches on, besides what the level below does ----
 *
 *   1  Block states: a free of anything but the start of a live block is reported.
 *      Guard pages after large blocks. Arenas at random addresses.
 *
 *   2  Guard pages after pages of blocks. Random order of allocation.
 *      Freed large blocks are inaccessible.
 *
 *   3  A canary after each block. A quarantine for freed blocks.
 *
 *   4  Freed blocks are zero, and checked to be zero when they are allocated again.
 *      Exact detection of two threads that free one block. */
#define SECURE_ORDER (MI_SECURE >= 2)
#define SECURE_GUARDS (MI_SECURE >= 2)
#define SECURE_CANARIES (MI_SECURE >= 3)
#define SECURE_QUARANTINE (MI_SECURE >= 3)
#define SECURE_ZERO (MI_SECURE >= 4)
#define SECURE_EXACT (MI_SECURE >= 4)
/* The use of a heap by a thread that does not own it is reported. */
#define MI_CHECKS_HEAPS (MI_DEBUG > 0 || MI_SECURE >= 4)
