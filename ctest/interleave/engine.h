/* engine.h - runs a few threads in every order that matters, and watches what they do.
 *
 * The threads of a scenario are coroutines of one real thread. The library and the scenarios are
 * compiled with -fsanitize=thread, but linked with the engine in place of the sanitizer's runtime:
 * the compiler then calls us at each atomic access, before it happens, and at each plain one. At
 * each lock, and at an atomic access that may conflict with another thread, the engine decides
 * which thread goes on. It does so in every possible way, one execution after the other, from the
 * same memory.
 */
#ifndef INTERLEAVE_ENGINE_H
#define INTERLEAVE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef THREADS_MAX
#define THREADS_MAX 3
#endif
#define DRIVER THREADS_MAX /* what runs before and after the threads */

typedef struct scenario_s {
  const char* name;
  void (*setup)(void);               /* once */
  void (*thread[THREADS_MAX])(void); /* NULL after the last */
  void (*finish)(void);              /* after each execution: what must hold, and the clean-up */
  const char* shows;                 /* not NULL: it must end in a violation that says this */
} scenario_t;

/* `stale`: of the option of that name, when it is not given. */
int engine_main(int argc, char** argv, const scenario_t* scenarios, size_t count, int stale);

/* What the scenarios and the operating system that is played to the library call. */
_Noreturn void engine_violation(const char* format, ...) __attribute__((format(printf, 1, 2)));
int engine_thread(void);      /* the running one, or DRIVER */
void engine_lock(void* lock); /* waits while another thread has it */
void engine_unlock(void* lock);
bool engine_is_locked(void); /* some lock is held */
void engine_wait(void);      /* what a thread read since the last time did not suffice */
void engine_read(const void* p, size_t size); /* plain accesses that the compiler does not tell */
void engine_write(void* p, size_t size);
/* Registers memory that each execution finds as the set-up left it. Called before the set-up ends.
 */
void engine_add_memory(void* start, size_t size);
/* A thread wrote to an OS page of this memory: all other OS pages are still zero. */
bool engine_is_touched(const void* p, size_t size);

/* What the scenarios provide: thread-local state, for all threads are one to the C library. */
void world_leave(int thread);
void world_enter(int thread);

#endif
