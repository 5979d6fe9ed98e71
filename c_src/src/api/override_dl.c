/* override_dl.c - libraries that a program opens with RTLD_DEEPBIND.
 *
 * Owns:    the addresses of the functions that ours hide.
 * Always:  such a library finds the C library before the program, and with it glibc's malloc and
 *          free. The C library, the program and all other libraries use ours. So glibc's free would
 *          get a string of strdup(), and ours a block of such a library. The functions here clear
 *          the flag, and the library finds what all others find.
 *          A new namespace (dlmopen) has a C library of its own, which uses its own malloc: there
 *          the flag stays.
 * Threads: any.
 *
 * The C library reads its return address to know which object calls: it uses the search path
 * (RUNPATH, $ORIGIN) and the namespace of that object. So our functions jump to the C library's
 * functions instead of calling them. C does not guarantee such a jump, so it is written in
 * assembler; on other processors the flag stays.
 */
#include "override.h"

#if MI_DEEPBIND_OVERRIDE && defined(__ELF__) && (defined(__x86_64__) || defined(__aarch64__))

#include "../base/atomic.h"
#include <dlfcn.h>

#if defined(RTLD_DEEPBIND) && defined(LM_ID_BASE)

_Static_assert(RTLD_DEEPBIND == 8 && LM_ID_BASE == 0, "the assembler below");

#pragma weak dlsym

/* The next definition after ours: that of the C library, or of another wrapper. Relaxed: every
 * thread finds the same address, and no data depends on it. */
static void* next_of(_Atomic(uintptr_t)* known, const char* name) {
  uintptr_t next = load_relaxed(known);
  if (next == 0 && &dlsym != NULL) {
    next = (uintptr_t)dlsym(RTLD_NEXT, name);
    store_relaxed(known, next);
  }
  return (void*)next;
}

/* The assembler names them, so link-time optimisation must keep them. */
__attribute__((used, visibility("hidden"))) void* mi_next_dlopen(void) {
  static _Atomic(uintptr_t) known;
  return next_of(&known, "dlopen");
}
__attribute__((used, visibility("hidden"))) void* mi_next_dlmopen(void) {
  static _Atomic(uintptr_t) known;
  return next_of(&known, "dlmopen");
}

#define BEGIN(name)                                                                                \
  ".text\n.p2align 4\n.globl " name "\n.type " name ", %function\n" name ":\n.cfi_startproc\n"
#define END(name) ".cfi_endproc\n.size " name ", .-" name "\n"

#if defined(__x86_64__)

/* dlopen(file: rdi, mode: esi), dlmopen(namespace: rdi, file: rsi, mode: edx) */
#define ASK(next)                                                                                  \
  "endbr64\n"                                                                                      \
  "pushq %rdi\n.cfi_adjust_cfa_offset 8\n"                                                         \
  "pushq %rsi\n.cfi_adjust_cfa_offset 8\n"                                                         \
  "pushq %rdx\n.cfi_adjust_cfa_offset 8\n"                                                         \
  "call " next "\n"                                                                                \
  "popq %rdx\n.cfi_adjust_cfa_offset -8\n"                                                         \
  "popq %rsi\n.cfi_adjust_cfa_offset -8\n"                                                         \
  "popq %rdi\n.cfi_adjust_cfa_offset -8\n"                                                         \
  "testq %rax, %rax\n"                                                                             \
  "je 1f\n"
#define GO                                                                                         \
  "jmp *%rax\n"                                                                                    \
  "1: ret\n"

__asm__(BEGIN("dlopen") ASK("mi_next_dlopen") "andl $~8, %esi\n" GO END("dlopen"));
__asm__(BEGIN("dlmopen") ASK("mi_next_dlmopen") "testq %rdi, %rdi\n"
                                                "jne 2f\n"
                                                "andl $~8, %edx\n"
                                                "2:\n" GO END("dlmopen"));

#else

/* dlopen(file: x0, mode: w1), dlmopen(namespace: x0, file: x1, mode: w2) */
#define ASK(next)                                                                                  \
  "hint #34\n" /* a target of calls */                                                             \
  "stp x29, x30, [sp, #-48]!\n.cfi_def_cfa_offset 48\n"                                            \
  ".cfi_offset 29, -48\n.cfi_offset 30, -40\n"                                                     \
  "mov x29, sp\n"                                                                                  \
  "stp x0, x1, [sp, #16]\n"                                                                        \
  "str x2, [sp, #32]\n"                                                                            \
  "bl " next "\n"                                                                                  \
  "mov x16, x0\n"                                                                                  \
  "ldr x2, [sp, #32]\n"                                                                            \
  "ldp x0, x1, [sp, #16]\n"                                                                        \
  "ldp x29, x30, [sp], #48\n.cfi_def_cfa_offset 0\n.cfi_restore 29\n.cfi_restore 30\n"             \
  "cbz x16, 1f\n"
#define GO                                                                                         \
  "br x16\n"                                                                                       \
  "1: mov x0, xzr\n"                                                                               \
  "ret\n"

__asm__(BEGIN("dlopen") ASK("mi_next_dlopen") "and w1, w1, #0xfffffff7\n" GO END("dlopen"));
__asm__(BEGIN("dlmopen") ASK("mi_next_dlmopen") "cbnz x0, 2f\n"
                                                "and w2, w2, #0xfffffff7\n"
                                                "2:\n" GO END("dlmopen"));

#endif
#endif
#endif
