/* os/system.h - which system the library is built for, and what only that system has.
 *
 * Owns:    nothing. Only this file asks the compiler for the system.
 * Always:  one of OS_UNIX, OS_WINDOWS and OS_WASM is 1, the others are 0. A source file of this
 *          folder is empty where its macro is 0.
 */
#pragma once

#include "../base/base.h"

#if defined(_WIN32)
#define OS_WINDOWS 1
#else
#define OS_WINDOWS 0
#endif
#if defined(__wasm__)
#define OS_WASM 1 /* WASI and Emscripten */
#else
#define OS_WASM 0
#endif
#define OS_UNIX (!OS_WINDOWS && !OS_WASM)

/* ---- locks: statically initialised, not recursive ---- */

#if OS_UNIX
#include <pthread.h>
typedef pthread_mutex_t os_lock_t;
#define OS_LOCK_INIT PTHREAD_MUTEX_INITIALIZER
#elif OS_WINDOWS
typedef struct os_lock_s {
  void* srw; /* an SRWLOCK, whose header defines too many short names to be included here */
} os_lock_t;
#define OS_LOCK_INIT                                                                               \
  { NULL }
#else
typedef struct os_lock_s {
  bool held; /* there is one thread, so no thread ever waits */
} os_lock_t;
#define OS_LOCK_INIT                                                                               \
  { false }
#endif

/* ---- how many threads ---- */

/* True only while the system says that the process has one thread. Then two plain accesses may
 * replace an exchange. */
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 32)
#define OS_TELLS_SINGLE_THREADED 1
#endif
#endif
#if defined(OS_TELLS_SINGLE_THREADED)
extern char __libc_single_threaded __attribute__((weak));
static inline bool os_is_single_threaded(void) {
  return &__libc_single_threaded != NULL && __libc_single_threaded != 0;
}
#else
static inline bool os_is_single_threaded(void) { return OS_WASM != 0; }
#endif

/* ---- a thread of the library's own ---- */

#if defined(__linux__) && defined(__GLIBC__)
#define OS_HAS_HELPER 1
#else
#define OS_HAS_HELPER 0
#endif

/* ---- one word per thread ---- */

/* GCC for Windows emulates thread-local variables: it allocates them with malloc at their first
 * use, and frees them before the library's hook at the end of the thread runs. There the default
 * heap lives in a TLS slot of the thread's TEB, which a register points to. Elsewhere it is a
 * thread-local variable. */
#if OS_WINDOWS && defined(__GNUC__) && !defined(__clang__)
#define OS_THREAD_WORD 1
static unsigned long os_thread_slot; /* number of the slot; no valid one before os_init */
INTERNAL void* os_thread_word_slow(void);
/* The word that the calling thread has set; NULL at first. */
static inline void* os_thread_word(void) {
#if defined(__x86_64__)
  unsigned long long slot = os_thread_slot; /* TlsSlots of the TEB, see winternl.h */
  if (unlikely(slot >= 64)) return os_thread_word_slow();
  void* word;
  __asm__("movq %%gs:0x1480(,%1,8), %0" : "=r"(word) : "r"(slot) : "memory");
  return word;
#else
  return os_thread_word_slow();
#endif
}
INTERNAL void os_set_thread_word(void* word);
#else
#define OS_THREAD_WORD 0
#endif

/* ---- names of the C library ---- */

/* The C library offers its malloc under names of its own too, and programs call these. */
#if defined(__GLIBC__)
#define OS_HAS_LIBC_MALLOC 1
#else
#define OS_HAS_LIBC_MALLOC 0
#endif

/* The C name realloc(p, 0) frees p and returns NULL; memalign rounds an alignment up. */
#define OS_LIKE_GLIBC OS_HAS_LIBC_MALLOC

/* The symbol tables of loaded objects can be read. */
#if OS_UNIX && defined(__ELF__) &&                                                                 \
    !defined(__mips64) /* whose relocations have a layout of their own */
#define OS_TELLS_SYMBOLS 1
#else
#define OS_TELLS_SYMBOLS 0
#endif

/* ---- before and after main ---- */

/* Define a function that runs early in the start of the image that contains the library, and one
 * that runs at its end. */
#if defined(_MSC_VER) && !defined(__clang__)
/* .CRT$XCU is among the initializers of C++, which run after those of the C library. */
#pragma section(".CRT$XCU", read)
#define OS_AT_START(name)                                                                          \
  static void __cdecl name(void);                                                                  \
  __declspec(allocate(".CRT$XCU")) void(__cdecl* const os_start_##name)(void) = name;              \
  static void __cdecl name(void)
#define OS_AT_END(name)                                                                            \
  static void __cdecl name(void);                                                                  \
  static void __cdecl os_end_##name(void) { (void)atexit(name); }                                  \
  __declspec(allocate(".CRT$XCU")) void(__cdecl* const os_end_start_##name)(void) = os_end_##name; \
  static void __cdecl name(void)
#else
/* The earliest priority that a library may use. Fork handlers that the program registers later run
 * before the library takes its locks, and after it has released them. */
#define OS_AT_START(name) static void __attribute__((constructor(101))) name(void)
#define OS_AT_END(name) static void __attribute__((destructor)) name(void)
#endif
