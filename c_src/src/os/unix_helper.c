/* os/unix_helper.c - the thread that the library itself may start, and how it sleeps. Linux with
 * glibc; elsewhere os.h answers "cannot".
 *
 * Owns:    the thread.
 * Always:  it has blocked all signals before it exists, except SIGSYS, which only a filter of
 *          system calls sends.
 * Threads: the caller lets only one thread at a time start or join it.
 *
 * Why the caller may be inside malloc. The C library allocates with locks of its own held. Of these
 * pthread_create takes the following: the lock of the loader's thread-local storage, which is
 * recursive, under which the loader allocates only while its lists are complete; the lock of the
 * stack cache, under which the C library frees, and never allocates; and the lock of the default
 * attributes, which it takes only without a size of the stack, so the size is always given. What
 * pthread_create itself allocates (a vector for thread-local storage) it allocates with none of the
 * last two held, so a call of it may begin inside another one. In musl dlopen keeps pthread_create
 * out, so there is no such thread there. Never inside free: see the stack cache.
 *
 * The thread calls nothing that allocates: no thread-local storage of a library that was loaded
 * later, no pthread_exit, which loads one.
 */
#include "os.h"

#if OS_HAS_HELPER
#include "unix_common.h"
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* The first size is enough for what the thread does. The C library puts the thread-local variables
 * of the program there too, and refuses a size (EINVAL) that leaves too little room beside them. */
#define HELPER_STACK (32 * KiB)
#define HELPER_STACK_MAX (128 * MiB)
#define HELPER_CPUS 8192

static struct {
  pthread_t thread;
  void (*run)(void);
} helper;

typedef struct processors_s {
  unsigned long bits[HELPER_CPUS / (8 * sizeof(unsigned long))];
} processors_t;

static long processors_of(pid_t task, processors_t* set) {
  return syscall(SYS_sched_getaffinity, task, sizeof(*set), set);
}

/* What a thread inherits from the one that starts it is that thread's own matter. The helper gets
 * the ordinary policy, and niceness and processors of the main thread. It asks first, because
 * filters that end the process often forbid to change these settings, and few need a change. */
static void helper_settle(void) {
  pid_t process = getpid();
  processors_t mine, wanted;
  int niceness = getpriority(PRIO_PROCESS, (id_t)process);
  if (sched_getscheduler(0) != SCHED_OTHER)
    (void)sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
  if (getpriority(PRIO_PROCESS, 0) != niceness) (void)setpriority(PRIO_PROCESS, 0, niceness);
  long size = processors_of(process, &wanted);
  if (size > 0 && processors_of(0, &mine) == size && memcmp(&mine, &wanted, (size_t)size) != 0)
    (void)syscall(SYS_sched_setaffinity, 0, size, &wanted);
  (void)prctl(PR_SET_NAME, "mi-purger", 0, 0, 0);
}

static void* helper_main(void* unused) {
  helper_settle();
  helper.run();
  return unused;
}

static int helper_create(size_t stack) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return ENOMEM;
  int error = pthread_attr_setstacksize(&attributes, stack);
  if (error == 0) error = pthread_create(&helper.thread, &attributes, &helper_main, NULL);
  (void)pthread_attr_destroy(&attributes);
  return error;
}

INTERNAL bool os_helper_start(void (*run)(void)) {
  if (is_forking()) return false;
  int saved = errno, cancel = os_cancel_off();
  sigset_t all, before;
  helper.run = run;
  (void)sigfillset(&all);
  (void)sigdelset(&all, SIGSYS); /* a filter's own trap: the kernel would end the process */
  int error = pthread_sigmask(SIG_SETMASK, &all, &before);
  if (error == 0) {
    error = EINVAL;
    for (size_t stack = HELPER_STACK; error == EINVAL && stack <= HELPER_STACK_MAX; stack *= 4)
      error = helper_create(stack);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  os_cancel_restore(cancel);
  errno = saved;
  return error == 0;
}

INTERNAL bool os_helper_join(unsigned ms) {
  int cancel = os_cancel_off(), saved = errno, error;
  struct timespec until;
  (void)clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  if (ms == OS_NO_LIMIT)
    error = pthread_join(helper.thread, NULL);
  else
    error = pthread_timedjoin_np(helper.thread, NULL, &until);
  errno = saved;
  os_cancel_restore(cancel);
  return error == 0;
}

enum { FUTEX_WAIT_HERE = 128, FUTEX_WAKE_HERE = 129 }; /* of this process only */

INTERNAL void os_wait(_Atomic(uint32_t)* word, uint32_t value, unsigned ms) {
  struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  const struct timespec* limit = ms == OS_NO_LIMIT ? NULL : &time;
  (void)keeping_errno(syscall(SYS_futex, word, FUTEX_WAIT_HERE, value, limit));
}

INTERNAL void os_wake(_Atomic(uint32_t)* word) {
  (void)keeping_errno(syscall(SYS_futex, word, FUTEX_WAKE_HERE, INT_MAX));
}

INTERNAL uintptr_t os_process_id(void) { return (uintptr_t)getpid(); }
#endif
