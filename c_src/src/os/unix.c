/* os/unix.c - the operating system, for Linux and its relatives.
 *
 * Owns:    os_info, the thread-exit key, the count of attempts at large pages to leave out.
 * Always:  mappings are private and anonymous, so what was never written reads as zero.
 * Uses:    os.h, posix.h.          Used by: chosen by system.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#if OS_UNIX

#include "../atomic.h"
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
/* Systems that forget what an image has registered with pthread_atfork when they unload it. On
 * others it stays. */
#if defined(__linux__) || defined(__FreeBSD__)
#define CAN_BE_UNLOADED 1
#if defined(__GLIBC__)
#include <link.h>
#endif
#else
#define CAN_BE_UNLOADED 0
#include <dlfcn.h>
#endif
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

/* What the kernel has had since 5.7, 5.14 and 4.14, whatever the headers of the C library know. An
 * older one answers EINVAL. */
#if defined(__linux__) && !defined(MREMAP_DONTUNMAP)
#define MREMAP_DONTUNMAP 4
#endif
#if defined(__linux__) && !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif
#if defined(__linux__) && !defined(MADV_WIPEONFORK)
#define MADV_WIPEONFORK 18
#endif

INTERNAL_DEF os_info_t os_info = {4096, true, false, SIZE_MAX};

static pthread_key_t thread_key;
static _Atomic(bool) thread_key_valid;

INTERNAL int os_cancel_off(void) {
  int state = 0;
#if !defined(__ANDROID__) /* which has no cancellation */
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
#endif
  return state;
}
INTERNAL void os_cancel_restore(int state) {
#if !defined(__ANDROID__)
  (void)pthread_setcancelstate(state, NULL);
#else
  (void)state;
#endif
}

#if defined(__linux__)
/* Reads a small file without the C library's buffers, which would allocate. */
static size_t read_file(const char* path, char* buf, size_t size) {
  int cancel = os_cancel_off(); /* all three calls are cancellation points */
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);
  if (fd >= 0) close(fd);
  os_cancel_restore(cancel);
  if (n < 0) n = 0;
  buf[n] = 0;
  return (size_t)n;
}
#endif

INTERNAL void os_init(void) {
  long page = sysconf(_SC_PAGESIZE);
  if (page > 0) os_info.page_size = (size_t)page;
#if defined(__linux__)
  char buf[16];
  /* 0 and 1 hand out address space freely; 2 charges every writable byte. */
  if (read_file("/proc/sys/vm/overcommit_memory", buf, sizeof(buf)) > 0)
    os_info.overcommits = (buf[0] == '0' || buf[0] == '1');
#endif
#if defined(MREMAP_DONTUNMAP) && defined(MREMAP_FIXED)
  os_info.can_move = true;
#endif
}

/* ---- memory ---- */

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

static void* map_memory(void* hint, size_t size, os_access_t access, int flags) {
  int prot = access == OS_INACCESSIBLE ? PROT_NONE : PROT_READ | PROT_WRITE;
  if (access != OS_COMMITTED) flags |= MAP_NORESERVE;
  void* p = mmap(hint, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

INTERNAL void os_release(void* p, size_t size) {
  /* At the limit of mappings a part of one cannot go. Its memory can. */
  if (size != 0 && munmap(p, size) != 0) (void)madvise(p, size, MADV_DONTNEED);
}

static bool is_addressable(const void* p, size_t size) {
  return (((uintptr_t)p + size - 1) >> (ADDRESS_BITS - 1) >> 1) == 0;
}

/* Secure builds ask for a random place of their own: what the system chooses lies beside the
 * libraries. All are in one random TiB, for each 4 GiB that were ever used cost the map of pages
 * two OS pages. A sanitizer has plans for the address space. */
static void* random_place(void) {
#if MI_SECURE > 0 && ADDRESS_BITS > 32 && !MI_WATCHED
  static _Atomic(uint64_t) zone; /* relaxed: a number, and nothing behind it */
  uint64_t random, mine = load_relaxed(&zone);
  (void)os_random(&random); /* any number is better than none */
  if (mine == 0) {
    uint64_t chosen = 1 + (random >> 40) % 62;
    mine = cas_relaxed(&zone, &mine, chosen) ? chosen : mine;
  }
  return (void*)((mine << 40 | (random & ((UINT64_C(1) << 40) - 1))) & ~(SLICE_SIZE - 1));
#else
  return NULL;
#endif
}

INTERNAL void* os_reserve(size_t size, size_t align, os_access_t access) {
  void* place = (void*)round_up((uintptr_t)random_place(), align);
  char* p = map_memory(place, size, access, 0);
  if (p == NULL && place != NULL) p = map_memory(NULL, size, access, 0); /* it heeds no wish */
  if (p == NULL) return NULL;
  if (((uintptr_t)p & (align - 1)) != 0) {
    os_release(p, size);
    size_t spare = align - os_info.page_size;
    if (size + spare < size) return NULL;
    p = map_memory(NULL, size + spare, access, 0);
    if (p == NULL) return NULL;
    size_t head = round_up((uintptr_t)p, align) - (uintptr_t)p;
    os_release(p, head);
    os_release(p + head + size, spare - head);
    p += head;
  }
  if (!is_addressable(p, size)) {
    os_release(p, size);
    return NULL;
  }
  return p;
}

/* ---- large and huge pages, nodes ---- */

#define LARGE_SHIFT 21
#define LARGE_SIZE ((size_t)1 << LARGE_SHIFT)
#define HUGE_SHIFT 30
_Static_assert(OS_HUGE_SIZE == (size_t)1 << HUGE_SHIFT, "1 GiB");

#if defined(MAP_HUGETLB)
#define LARGE_SKIPS 8 /* attempts left out after one that failed */
static _Atomic(unsigned) large_skips;

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0 /* then the address is a hint, and looked at */
#endif

/* Pages of 1 << `shift` bytes, at `at` if that is not NULL. Never with MAP_NORESERVE: the system
 * sets the pages aside, or the first touch of one that it does not have would kill us. */
static void* map_pages(void* at, size_t size, int shift) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (shift << MAP_HUGE_SHIFT);
  if (at != NULL) flags |= MAP_FIXED_NOREPLACE;
  void* p = mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if ((at == NULL || p == at) && is_addressable(p, size)) return p;
  os_release(p, size);
  return NULL;
}

static void* reserve_pinned(size_t size, size_t align) {
  if ((size & (LARGE_SIZE - 1)) != 0 || align > LARGE_SIZE) return NULL;
  /* Relaxed: two threads may leave out one attempt more or less. */
  unsigned skips = load_relaxed(&large_skips);
  if (skips > 0) {
    store_relaxed(&large_skips, skips - 1);
    return NULL;
  }
  void* p = map_pages(NULL, size, LARGE_SHIFT); /* at a multiple of the page's size */
  if (p == NULL) store_relaxed(&large_skips, LARGE_SKIPS);
  return p;
}
#else
static void* reserve_pinned(size_t size, size_t align) { return (void)size, (void)align, NULL; }
#endif

INTERNAL void* os_reserve_large(size_t size, size_t align, bool* pinned) {
  void* p = reserve_pinned(size, align);
  *pinned = p != NULL;
  if (p != NULL) return p;
  p = os_reserve(size, size >= LARGE_SIZE ? max_size(align, LARGE_SIZE) : align, OS_LAZY);
#if defined(MADV_HUGEPAGE)
  if (p != NULL) (void)madvise(p, size, MADV_HUGEPAGE);
#endif
  return p;
}

#define NODE_MAX 1024 /* above every node number of the system */

/* Returns how many nodes have memory (0: the system does not tell). `*node` is the number of the
 * `index`-th of them, if there is one: numbers may be missing, and nodes may be empty. */
static size_t list_nodes(size_t index, unsigned long* node) {
  size_t count = 0;
#if defined(__linux__)
  char list[4096]; /* like "0-1,4"; such files are never longer */
  if (read_file("/sys/devices/system/node/has_memory", list, sizeof(list)) == 0)
    (void)read_file("/sys/devices/system/node/online", list, sizeof(list));
  for (char* s = list; *s >= '0' && *s <= '9'; s += (*s == ',')) {
    unsigned long first = strtoul(s, &s, 10);
    unsigned long last = *s == '-' ? strtoul(s + 1, &s, 10) : first;
    if (last < first || last >= NODE_MAX) break;
    if (index >= count && index - count <= last - first) *node = first + (index - count);
    count += last - first + 1;
  }
#else
  (void)index, (void)node;
#endif
  return count;
}

INTERNAL size_t os_numa_nodes(void) {
  unsigned long node;
  return max_size(list_nodes(0, &node), 1);
}

#if defined(MAP_HUGETLB) && UINTPTR_MAX > UINT32_MAX
/* By the bare system call, for the library around it is not everywhere. */
static bool bind_to_node(void* p, size_t size, unsigned long node) {
#if defined(SYS_mbind)
  enum { PREFERRED = 1, BITS = 8 * sizeof(unsigned long) };
  unsigned long mask[NODE_MAX / BITS] = {0};
  mask[node / BITS] = 1UL << (node % BITS);
  /* The system takes the number of bits plus one. */
  return syscall(SYS_mbind, p, size, (long)PREFERRED, mask, (long)NODE_MAX + 1, 0L) == 0;
#else
  return (void)p, (void)size, (void)node, false;
#endif
}

/* Makes the page resident. A control group may be allowed fewer pages than the system has set
 * aside, and would kill us when we touch one more. */
static bool populate(void* p, size_t size) {
#if defined(MADV_POPULATE_WRITE)
  if (madvise(p, size, MADV_POPULATE_WRITE) == 0) return true;
  return errno != ENOMEM && errno != EFAULT && errno != EHWPOISON; /* older systems cannot tell */
#else
  return (void)p, (void)size, true;
#endif
}

/* A huge page in the place of addresses that we hold; false if there is none, and then we hold
 * them no more. Our hold goes first: a fixed mapping that fails may unmap what was there, and
 * others may have mapped something into the hole by the time we give back the rest. */
static bool huge_page_take(char* page, unsigned long node, bool* bound) {
  os_release(page, OS_HUGE_SIZE);
  if (map_pages(page, OS_HUGE_SIZE, HUGE_SHIFT) == NULL) return false;
  if (node != ULONG_MAX && !bind_to_node(page, OS_HUGE_SIZE, node)) *bound = false;
  if (populate(page, OS_HUGE_SIZE)) return true;
  os_release(page, OS_HUGE_SIZE);
  return false;
}

INTERNAL os_huge_t os_reserve_huge(size_t pages, int numa_node, size_t timeout_ms) {
  os_huge_t huge = {NULL, 0, true};
  unsigned long node = ULONG_MAX;
  if (numa_node >= 0 && list_nodes((size_t)numa_node, &node) > 1)
    huge.bound = node != ULONG_MAX;
  else
    node = ULONG_MAX; /* no choice */
  uint64_t start = os_clock_ms();
  char* at = NULL;
  size_t n = min_size(pages, (size_t)1 << (ADDRESS_BITS - HUGE_SHIFT)), tried = 0;
  for (; n > 0; n /= 2) /* fewer where the addresses are few */
    if ((at = os_reserve(n * OS_HUGE_SIZE, OS_HUGE_SIZE, OS_INACCESSIBLE)) != NULL) break;
  while (tried < n && huge_page_take(at + tried++ * OS_HUGE_SIZE, node, &huge.bound)) {
    huge.pages++;
    if (timeout_ms != 0 && os_clock_ms() - start >= timeout_ms) break;
  }
  if (tried < n) os_release(at + tried * OS_HUGE_SIZE, (n - tried) * OS_HUGE_SIZE);
  if (huge.pages > 0) huge.start = at;
  return huge;
}
#else
INTERNAL os_huge_t os_reserve_huge(size_t pages, int numa_node, size_t timeout_ms) {
  (void)pages, (void)numa_node, (void)timeout_ms;
  return (os_huge_t){NULL, 0, true};
}
#endif

/* ---- access and contents ---- */

INTERNAL bool os_commit(void* p, size_t size) {
  return mprotect(p, size, PROT_READ | PROT_WRITE) == 0;
}

INTERNAL bool os_decommit(void* p, size_t size) {
  /* A new mapping rather than a new protection: only that takes the charge back under strict
   * accounting, and it is atomic for anybody who maps memory at the same time. */
  return map_memory(p, size, OS_INACCESSIBLE, MAP_FIXED) != NULL;
}

INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero) {
#if defined(MADV_FREE)
  if (!decommits) {
    /* A lazily freed range may keep its old contents for a while: never known to be zero. */
    *zero = false;
    if (madvise(p, size, MADV_FREE) == 0) return true;
  }
#else
  (void)decommits;
#endif
#if defined(__linux__)
  *zero = true;
  return madvise(p, size, MADV_DONTNEED) == 0;
#else
  *zero = true;
  return os_renew(p, size); /* MADV_DONTNEED keeps the contents on other systems */
#endif
}

INTERNAL bool os_protect(void* p, size_t size) { return mprotect(p, size, PROT_NONE) == 0; }

/* Nothing of value lies behind it. */
INTERNAL bool os_open(void* p, size_t size) { return os_commit(p, size) || os_renew(p, size); }

/* Linux 6.13 has guards that are no mappings of their own. */
#if defined(__linux__) && !defined(MADV_GUARD_INSTALL)
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
enum { GUARDS_UNKNOWN, GUARDS_LIGHT, GUARDS_HEAVY };
static _Atomic(int) guard_kind; /* relaxed: the system's answer is the same to everybody */

static bool guard_lightly(void* p, size_t size, bool on) {
#if defined(MADV_GUARD_INSTALL)
  return madvise(p, size, on ? MADV_GUARD_INSTALL : MADV_GUARD_REMOVE) == 0;
#else
  (void)p, (void)size, (void)on;
  errno = EINVAL;
  return false;
#endif
}

static bool unguard_lightly(void* p, size_t size) {
  return guard_lightly(p, size, false) || os_renew(p, size);
}

INTERNAL bool os_guards_are_light(void) { return load_relaxed(&guard_kind) == GUARDS_LIGHT; }
INTERNAL bool os_guards_are_mappings(void) { return load_relaxed(&guard_kind) == GUARDS_HEAVY; }

/* The memory behind a protection alone would stay, with its contents. */
INTERNAL bool os_shut(void* p, size_t size) {
  bool zero, dropped = os_purge(p, size, true, &zero);
  if (!dropped) { /* the kernel keeps locked memory; and a part may be inaccessible already */
    if (!os_open(p, size) || (os_guards_are_light() && !unguard_lightly(p, size)))
      return os_decommit(p, size);
    memset(p, 0, size);
  }
  /* A part may be protected. If the kernel does not open that again, the whole range is closed. */
  if (!os_protect(p, size)) return !os_open(p, size);
#if defined(__linux__)
  if (dropped) (void)os_purge(p, size, true, &zero); /* what was written between the two */
#endif
  return true;
}

/* After an attempt that failed with `error`: the kernel may have set some of the guards. If it
 * refuses to remove them with the same error, it refuses all light guards, and has set none: to map
 * the range anew each time would cost the program its mappings. */
static void undo_guards(void* p, size_t size, int error) {
  if (guard_lightly(p, size, false)) return;
  if (errno != error || error == ENOMEM) (void)os_renew(p, size);
}

/* An emulator may say yes to any advice, and heed none. */
static bool advice_is_heeded(void* p, size_t size) { return madvise(p, size, -1) != 0; }

INTERNAL bool os_guard(void* p, size_t size) {
  int saved = errno, kind = load_relaxed(&guard_kind);
  bool lightly = kind != GUARDS_HEAVY, done = lightly && guard_lightly(p, size, true);
  if (lightly && !done) undo_guards(p, size, errno);
  if (kind == GUARDS_UNKNOWN) {
    int wanted = done && advice_is_heeded(p, size) ? GUARDS_LIGHT : GUARDS_HEAVY;
    /* One kind for ever, for a guard is taken away as it was set. */
    if (cas_acquire(&guard_kind, &kind, wanted)) kind = wanted;
    if (done && kind == GUARDS_HEAVY) done = !unguard_lightly(p, size);
  }
  if (kind == GUARDS_HEAVY && !done) done = os_shut(p, size);
  errno = saved;
  return done;
}

INTERNAL bool os_unguard(void* p, size_t size) {
  int saved = errno;
  /* A light guard that stays would be met behind an access that the system grants. */
  bool done = os_guards_are_light() ? unguard_lightly(p, size) : os_open(p, size);
  errno = saved;
  return done;
}

INTERNAL bool os_renew(void* p, size_t size) {
  return map_memory(p, size, OS_LAZY, MAP_FIXED) != NULL;
}

INTERNAL bool os_move(void* dst, void* src, size_t size) {
#if defined(MREMAP_DONTUNMAP) && defined(MREMAP_FIXED)
  /* DONTUNMAP keeps the source mapped: without it another thread's mmap could land in the hole.
   * First to a place that the kernel chooses: if the source is not one mapping this fails without
   * harm, where a move straight to dst would unmap dst before it fails. */
  void* between = mremap(src, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
  if (between == MAP_FAILED) return false;
  if (mremap(between, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, dst) == dst) return true;
    /* Out of kernel memory, and dst may be a hole by now. Nobody's, if it still is one. */
#if defined(MAP_FIXED_NOREPLACE)
  (void)map_memory(dst, size, OS_LAZY, MAP_FIXED_NOREPLACE);
#endif
  memcpy(dst, between, size);
  os_release(between, size);
  return true;
#else
  (void)dst, (void)src, (void)size;
  return false;
#endif
}

INTERNAL bool os_disable_huge_pages(void) {
#if defined(PR_SET_THP_DISABLE)
  return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0;
#else
  return false;
#endif
}

INTERNAL void os_advise_huge(void* p, size_t size, bool use) {
#if defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)
  int saved = errno;
  (void)madvise(p, size, use ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  errno = saved;
#else
  (void)p, (void)size, (void)use;
#endif
}

INTERNAL size_t os_resident(const void* p, size_t size) {
  unsigned char present[512];
  size_t page = os_info.page_size, total = 0;
  char* at = (char*)round_down((uintptr_t)p, page);
  size_t pages = round_up((size_t)((const char*)p + size - at), page) / page;
  while (pages > 0) {
    size_t n = min_size(pages, sizeof(present));
    if (mincore(at, n * page, (void*)present) != 0) return total;
    for (size_t i = 0; i < n; i++) total += (present[i] & 1) ? page : 0;
    at += n * page;
    pages -= n;
  }
  return total;
}

/* ---- time and process ---- */

INTERNAL uint64_t os_clock_ms(void) {
  struct timespec t;
#if defined(CLOCK_MONOTONIC_COARSE)
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
#endif
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static size_t to_ms(struct timeval t) { return (size_t)t.tv_sec * 1000 + (size_t)t.tv_usec / 1000; }

INTERNAL void os_process(os_process_t* info) {
  struct rusage r;
  memset(info, 0, sizeof(*info));
  if (getrusage(RUSAGE_SELF, &r) == 0) {
    info->user_ms = to_ms(r.ru_utime);
    info->system_ms = to_ms(r.ru_stime);
    info->page_faults = (size_t)r.ru_majflt;
#if defined(__APPLE__)
    info->peak_rss = (size_t)r.ru_maxrss;
#else
    info->peak_rss = (size_t)r.ru_maxrss * 1024;
#endif
  }
  info->rss = info->peak_rss;
#if defined(__linux__)
  /* "size resident shared ...", in OS pages */
  char buf[128];
  if (read_file("/proc/self/statm", buf, sizeof(buf)) > 0) {
    const char* s = strchr(buf, ' ');
    if (s != NULL) info->rss = strtoul(s + 1, NULL, 10) * os_info.page_size;
  }
#endif
  if (info->peak_rss < info->rss) info->peak_rss = info->rss;
}

#if MI_SECURE > 0
/* Where the system has no random numbers for us. The loader gives each program 16 random bytes; the
 * C library protects the stack with them, so that what we make of them must not tell them: two
 * multiplications whose halves are folded. The rest makes the results differ. */
static uint64_t weak_random(void) {
  static _Atomic(uint64_t) count; /* relaxed: a number, and nothing behind it */
  uint64_t seed[2] = {(uintptr_t)&count, (uintptr_t)&seed}, n = add_relaxed(&count, 1) + 1;
#if defined(__linux__)
  const void* given = (const void*)(uintptr_t)getauxval(AT_RANDOM);
  if (given != NULL) memcpy(seed, given, sizeof(seed));
#endif
  struct timespec now = {0, 0};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t time = (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec;
  uint64_t x = multiply_fold(seed[0] ^ time, seed[1] ^ n * UINT64_C(0x9e3779b97f4a7c15));
  return multiply_fold(x ^ seed[1], seed[0] + n);
}

INTERNAL bool os_random(uint64_t* random) {
#if defined(SYS_getrandom)
  int saved = errno;
  long got = syscall(SYS_getrandom, random, sizeof(*random), 1L /* rather less than wait */);
  errno = saved;
  if (got == (long)sizeof(*random)) return true;
#elif !defined(__linux__)
  arc4random_buf(random, sizeof(*random));
  return true;
#endif
  *random = weak_random();
  return false;
}

INTERNAL _Atomic(uint64_t)* os_word_of_process(void) {
#if defined(MADV_WIPEONFORK)
  int saved = errno;
  void* p = map_memory(NULL, os_info.page_size, OS_LAZY, 0);
  if (p != NULL && madvise(p, os_info.page_size, MADV_WIPEONFORK) != 0) {
    os_release(p, os_info.page_size);
    p = NULL;
  }
  errno = saved;
  return p;
#else
  return NULL;
#endif
}
#endif

INTERNAL uintptr_t os_thread_id(void) {
  uintptr_t id = 0;
  pthread_t self = pthread_self();
  memcpy(&id, &self, min_size(sizeof(id), sizeof(self)));
  return id;
}

INTERNAL void os_nap(unsigned us) {
  int cancel = os_cancel_off(), saved = errno;
  (void)nanosleep(&(struct timespec){0, (long)us * 1000}, NULL); /* a signal may end it early */
  errno = saved;
  os_cancel_restore(cancel);
}

INTERNAL _Noreturn void os_abort(void) { abort(); }

INTERNAL bool os_is_privileged(void) {
#if defined(__linux__)
  return getauxval(AT_SECURE) != 0;
#else
  return geteuid() != getuid() || getegid() != getgid();
#endif
}

INTERNAL char* os_real_path(const char* path, char* resolved) { return realpath(path, resolved); }
#if defined(PATH_MAX)
_Static_assert(PATH_MAX <= OS_PATH_MAX, "realpath may write that many bytes");
#endif

/* ---- threads ---- */

/* The thread that is forking; 0: none. Relaxed: only that thread itself must see its own id. */
static _Atomic(uintptr_t) forking_thread;

static bool is_forking(void) {
  uintptr_t thread = load_relaxed(&forking_thread);
  return unlikely(thread != 0) && thread == os_thread_id();
}

INTERNAL void os_fork_begin(void) { store_relaxed(&forking_thread, os_thread_id()); }
INTERNAL void os_fork_end(void) { store_relaxed(&forking_thread, 0); }

INTERNAL void os_lock(os_lock_t* lock) {
  if (!is_forking()) (void)pthread_mutex_lock(lock);
}
INTERNAL void os_unlock(os_lock_t* lock) {
  if (!is_forking()) (void)pthread_mutex_unlock(lock);
}
INTERNAL void os_lock_reset(os_lock_t* lock) {
  /* The child has one thread, and it is the one that took the lock in the parent. */
  static const os_lock_t fresh = OS_LOCK_INIT;
  memcpy(lock, &fresh, sizeof(fresh));
}

/* ---- the image ---- */

/* What tells the end of the process from that of the image: at the end of the process the functions
 * of atexit run before the destructors, and when an image is unloaded the destructors run first,
 * then the functions of atexit that the image has registered, the first one last. So the one that
 * is registered before all constructors of the program's language comes after all that is to be
 * destroyed with the image. In a library that the program starts with this function would run after
 * the destructors, too, at the end of the process: it is not registered there. */
static struct {
  void (*unload)(void);
  bool ends; /* its destructors have run, or run */
  bool process_ends;
  bool stays; /* until the process ends */
} image;

INTERNAL bool os_thread_hook(void (*hook)(void*)) {
  if (image.ends || pthread_key_create(&thread_key, hook) != 0) return false;
  store_relaxed(&thread_key_valid, true); /* before any other thread asks for it */
  return true;
}
INTERNAL void os_thread_hook_set(void* value) {
  /* Relaxed: a key that was deleted just now is refused by the C library. */
  if (load_relaxed(&thread_key_valid)) (void)pthread_setspecific(thread_key, value);
}
INTERNAL void os_thread_hook_remove(void) {
  if (load_relaxed(&thread_key_valid)) (void)pthread_key_delete(thread_key);
  store_relaxed(&thread_key_valid, false);
}
INTERNAL void os_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  if (!image.ends) (void)pthread_atfork(prepare, parent, child);
}

#if CAN_BE_UNLOADED && defined(__GLIBC__)
/* True at our image, if that comes before the loader among the objects of a program. Those that the
 * program starts with do: the C library needs the loader, and what dlopen loads comes last. */
static int find_image(struct dl_phdr_info* object, size_t size, void* found) {
  (void)size;
  if (object->dlpi_addr == getauxval(AT_BASE)) return 1;
  for (size_t i = 0; i < object->dlpi_phnum; i++) {
    uintptr_t start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
    if (object->dlpi_phdr[i].p_type == PT_LOAD &&
        (uintptr_t)&image - start < object->dlpi_phdr[i].p_memsz)
      return *(bool*)found = true;
  }
  return 0;
}
/* The first object of a namespace is the program, which has no name, or was loaded by dlmopen. */
static int is_program(struct dl_phdr_info* object, size_t size, void* unused) {
  (void)size, (void)unused;
  return object->dlpi_name[0] == 0 ? 1 : -1;
}
static bool is_loaded_for_good(void) {
  bool found = false;
  if (getauxval(AT_BASE) != 0 && dl_iterate_phdr(&is_program, NULL) == 1)
    (void)dl_iterate_phdr(&find_image, &found);
  return found;
}
#else
static bool is_loaded_for_good(void) { return false; }
#endif

static void image_at_exit(void) {
  if (image.ends) {
    image.unload();
  } else {
    image.process_ends = true;
    os_thread_hook_remove(); /* an image that is unloaded from here on is not told of it again */
  }
}

INTERNAL void os_at_unload(void (*unload)(void)) {
  image.unload = unload;
  image.stays = is_loaded_for_good();
  if (image.stays) return;
  if (CAN_BE_UNLOADED && atexit(&image_at_exit) == 0) return;
#if !CAN_BE_UNLOADED && defined(RTLD_NODELETE) && defined(RTLD_NOLOAD)
  Dl_info info;
  if (dladdr((void*)(uintptr_t)&image_at_exit, &info) != 0)
    (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD);
#endif
}

INTERNAL void os_image_ends(void) { image.ends = !image.process_ends && !image.stays; }

#endif
