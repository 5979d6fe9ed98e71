/* refuse.h - runs this process and its children on a system that refuses some calls. The library
 * usually asks for guards before main(), so a test program starts itself again with the filter in
 * place. */
#pragma once
#include "probe.h"
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

/* Can be combined. */
enum {
  REFUSE_LIGHT_GUARDS = 1, /* MADV_GUARD_INSTALL and MADV_GUARD_REMOVE, as before Linux 6.13 */
  REFUSE_PROTECTIONS = 2,  /* PROT_NONE, as at the limit of mappings */
  REFUSE_PURGES = 4,       /* MADV_DONTNEED, as of locked memory */
  REFUSE_GUARD_REMOVAL = 8 /* MADV_GUARD_REMOVE alone, as a sandbox that does not know it */
};

#if defined(__linux__)
/* Calls with this third argument: the advice of madvise, the protection of mprotect. */
static void refuse_one(unsigned call, unsigned argument, unsigned error) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {COUNT_OF(code), code};
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Cannot be undone. Several filters add up. */
CHECK_UNUSED static void refuse(int what) {
  if ((what & REFUSE_LIGHT_GUARDS) != 0) {
    refuse_one(SYS_madvise, 102, EINVAL);
    refuse_one(SYS_madvise, 103, EINVAL);
  }
  if ((what & REFUSE_PROTECTIONS) != 0) refuse_one(SYS_mprotect, PROT_NONE, ENOMEM);
  if ((what & REFUSE_GUARD_REMOVAL) != 0) refuse_one(SYS_madvise, 103, EPERM);
  if ((what & REFUSE_PURGES) != 0) refuse_one(SYS_madvise, MADV_DONTNEED, EINVAL);
}
#else
CHECK_UNUSED static void refuse(int what) { (void)what; /* no filter on this system */ }
#endif
