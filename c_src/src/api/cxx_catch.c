/* cxx_catch.c - catches exceptions in C, for the nothrow forms of new.
 *
 * How:     C has no catch. An unwinder calls the personality function that a stack frame names,
 *          whatever its language. The personality function of exception_catch() accepts any
 *          exception, and jumps back into exception_catch() after the frames inside are cleaned up.
 *          This is enabled only on processors where it was run. On others, and on 32-bit Arm, whose
 *          unwind tables have another format, the exception passes and ends the program.
 * Threads: any.
 */
#include "cxx_catch.h"

#if MI_MALLOC_OVERRIDE

#include "../base/atomic.h"
#include "cxx_runtime.h"
#include "../os/os.h"

#if defined(__ELF__) && defined(__EXCEPTIONS) &&                                                   \
    (defined(__x86_64__) || defined(__i386__) || defined(__aarch64__))

#include <setjmp.h>
#include <unwind.h>

extern _Unwind_Word _Unwind_GetCFA(struct _Unwind_Context* context) __attribute__((weak));
extern void* __cxa_begin_catch(void* exception) __attribute__((weak));
extern void __cxa_end_catch(void) __attribute__((weak));

typedef struct try_s {
  attempt_t* attempt;
  size_t size, align;
  const void* caller;
  void* volatile result;
  struct _Unwind_Exception* volatile exception;
  sigjmp_buf inside;
} try_t;

/* Distance from the end of the frame of try_call() to the `try_t` of its caller, which is constant.
 * Relaxed: the thread that reads it has written it. */
static _Atomic(uintptr_t) try_distance;

/* exception_catch() names it in assembler, so link-time optimisation must keep it. */
__attribute__((used, visibility("hidden"))) _Unwind_Reason_Code
mi_try_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class cls,
                   struct _Unwind_Exception* exception, struct _Unwind_Context* context) {
  (void)version, (void)cls;
  /* Forced unwinding is the end of a thread and not an exception. */
  if ((actions & _UA_FORCE_UNWIND) != 0) return _URC_CONTINUE_UNWIND;
  /* The function of the calling unwinder: a process may have two, as it may have two runtimes. */
  void* found = os_symbol(OS_DEFINED_AT, CALLER, "_Unwind_GetCFA");
  _Unwind_Word (*get_cfa)(struct _Unwind_Context*) = &_Unwind_GetCFA;
  if (found != NULL) memcpy(&get_cfa, &found, sizeof(found));
  if (get_cfa == NULL) return _URC_CONTINUE_UNWIND;
  if ((actions & _UA_SEARCH_PHASE) != 0) return _URC_HANDLER_FOUND;
  if ((actions & _UA_HANDLER_FRAME) == 0) return _URC_CONTINUE_UNWIND;
  try_t* t = (try_t*)((uintptr_t)get_cfa(context) + load_relaxed(&try_distance));
  t->exception = exception;
  siglongjmp(t->inside, 1);
}

static NOINLINE void try_call(try_t* t) {
  store_relaxed(&try_distance, (uintptr_t)t - (uintptr_t)__builtin_dwarf_cfa());
  t->result = t->attempt(t->size, t->align, t->caller);
}

/* Ends the exception through the runtime that made it, which counts the exceptions in progress. */
static COLD void try_drop(struct _Unwind_Exception* exception) {
  const void* maker = NULL;
  void* (*begin)(void*) = &__cxa_begin_catch;
  void (*end)(void) = &__cxa_end_catch;
  memcpy(&maker, &exception->exception_cleanup, sizeof(maker));
  void* found[2] = {os_symbol(OS_DEFINED_AT, maker, "__cxa_begin_catch"),
                    os_symbol(OS_DEFINED_AT, maker, "__cxa_end_catch")};
  if (found[0] != NULL && found[1] != NULL) {
    memcpy(&begin, &found[0], sizeof(begin));
    memcpy(&end, &found[1], sizeof(end));
  }
  if (begin != NULL && end != NULL) {
    (void)begin(exception);
    end();
  } else if (exception->exception_cleanup != NULL) {
    exception->exception_cleanup(_URC_FOREIGN_EXCEPTION_CAUGHT, exception);
  }
}

INTERNAL NOINLINE void* exception_catch(attempt_t* attempt, size_t size, size_t align,
                                        const void* caller) {
  try_t t = {.attempt = attempt, .size = size, .align = align, .caller = caller};
  /* 0x1b: a relative address of four bytes, in the encoding of the unwind tables. */
  __asm__ volatile(".cfi_personality 0x1b, mi_try_personality");
  if (sigsetjmp(t.inside, 0) == 0)
    try_call(&t);
  else
    try_drop(t.exception);
  return t.result;
}

#else

INTERNAL void* exception_catch(attempt_t* attempt, size_t size, size_t align, const void* caller) {
  return attempt(size, align, caller);
}

#endif
#endif
