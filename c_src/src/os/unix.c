/* os/unix.c - memory, time and the process on Linux and other Unix systems.
 *
 * Owns:    os_info, the kind of guard.
 * Always:  mappings are private and anonymous, so memory that was never written reads as zero.
 * Threads: any; the shared words are hints, or are set once.
 */
#include "os.h"

#if OS_UNIX

#include "../base/atomic.h"
#include "unix_common.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/syscall.h>
#endif

/* The kernel has these since 5.7, 4.14 and 5.4; the headers of the C library may lack them.
 * An older kernel answers EINVAL. */
#if defined(__linux__) && !defined(MREMAP_DONTUNMAP)
#define MREMAP_DONTUNMAP 4
#endif
#if defined(__linux__) && !defined(MADV_WIPEONFORK)
#define MADV_WIPEONFORK 18
#endif
#if defined(__linux__) && !defined(MADV_COLD)
#define MADV_COLD 20
#endif

static os_info_t os_info = {
    .page_size = 4096, .overcommits = true, .ahead_max = SIZE_MAX, .holes_are_mappings = true};

#if defined(__linux__)
INTERNAL size_t read_file(const char* path, char* buf, size_t size) {
  int cancel = os_cancel_off(), saved = errno; /* open, read, close are cancellation points */
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);
  if (fd >= 0) close(fd);
  errno = saved;
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
  /* Modes 0 and 1 charge memory when it is touched; mode 2 charges every writable byte. */
  if (read_file("/proc/sys/vm/overcommit_memory", buf, sizeof(buf)) > 0)
    os_info.overcommits = (buf[0] == '0' || buf[0] == '1');
#endif
#if defined(MREMAP_DONTUNMAP) && defined(MREMAP_FIXED)
  os_info.can_move = true;
#endif
#if defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)
  os_info.can_advise_huge = true;
#endif
}

/* ---- memory ---- */

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

static _Atomic(bool) huge_disabled; /* relaxed: set before the first mapping */

static void* map_memory(void* hint, size_t size, os_access_t access, int flags) {
  int prot = access == OS_INACCESSIBLE ? PROT_NONE : PROT_READ | PROT_WRITE;
  if (access != OS_COMMITTED) flags |= MAP_NORESERVE;
  void* p = keeping_errno(mmap(hint, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0));
  if (p == MAP_FAILED) return NULL;
  if (load_relaxed(&huge_disabled)) os_advise_huge(p, size, false);
  return p;
}

/* 0, or the error. */
static int advise_error(void* p, size_t size, int advice) {
  return keeping_errno(madvise(p, size, advice) == 0 ? 0 : errno);
}
static bool advise(void* p, size_t size, int advice) { return advise_error(p, size, advice) == 0; }
static bool set_access(void* p, size_t size, int access) {
  return keeping_errno(mprotect(p, size, access)) == 0;
}

INTERNAL void os_release(void* p, size_t size) {
  /* At the limit of mappings the kernel cannot unmap a part of one. It can drop the memory. */
  if (size != 0 && keeping_errno(munmap(p, size)) != 0) (void)advise(p, size, MADV_DONTNEED);
}

/* An address hint for secure builds: the kernel's own choice lies beside the libraries. All hints
 * of a process lie in one random TiB, because the page map needs two OS pages for each 4 GiB that
 * are used. Not under a sanitizer, which has its own layout of the address space. */
static void* random_hint(void) {
#if MI_SECURE > 0 && ADDRESS_BITS > 32 && !MI_WATCHED
  static _Atomic(uint64_t) zone; /* relaxed: a number that publishes nothing */
  uint64_t random, mine = load_relaxed(&zone);
  (void)os_random(&random); /* a weak number is better than none */
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
  void* hint = (void*)round_up((uintptr_t)random_hint(), align);
  char* p = map_memory(hint, size, access, 0);
  if (p == NULL && hint != NULL) p = map_memory(NULL, size, access, 0); /* hint rejected */
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

/* ---- access and contents ---- */

INTERNAL bool os_commit(void* p, size_t size) {
  return set_access(p, size, PROT_READ | PROT_WRITE);
}

INTERNAL bool os_decommit(void* p, size_t size) {
  /* A new mapping, not a new protection: only a mapping returns the charge under strict accounting.
   * It leaves no hole into which another thread could map memory. */
  return map_memory(p, size, OS_INACCESSIBLE, MAP_FIXED) != NULL;
}

INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero) {
#if defined(MADV_FREE)
  if (!decommits) {
    /* The range may keep its contents for a while, so it is not known to be zero. */
    *zero = false;
    if (advise(p, size, MADV_FREE)) return true;
  }
#else
  (void)decommits;
#endif
#if defined(__linux__)
  *zero = true;
  return advise(p, size, MADV_DONTNEED);
#else
  *zero = true;
  return os_remap(p, size); /* MADV_DONTNEED keeps the contents on other systems */
#endif
}

INTERNAL bool os_protect(void* p, size_t size) { return set_access(p, size, PROT_NONE); }

/* The contents are worthless, so a new mapping serves too. */
INTERNAL bool os_open(void* p, size_t size) { return os_commit(p, size) || os_remap(p, size); }

#if defined(__linux__) && !defined(MADV_GUARD_INSTALL)
/* Linux 6.13 has guards that are no mappings of their own. */
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { GUARDS_UNKNOWN, GUARDS_LIGHT, GUARDS_HEAVY };
static _Atomic(int) guard_kind; /* relaxed: every thread gets the same answer from the kernel */

/* 0, or the error. */
static int guard_lightly(void* p, size_t size, bool on) {
#if defined(MADV_GUARD_INSTALL)
  return advise_error(p, size, on ? MADV_GUARD_INSTALL : MADV_GUARD_REMOVE);
#else
  return (void)p, (void)size, (void)on, EINVAL;
#endif
}

static bool unguard_lightly(void* p, size_t size) {
  return guard_lightly(p, size, false) == 0 || os_remap(p, size);
}

INTERNAL bool os_guards_are_light(void) { return load_relaxed(&guard_kind) == GUARDS_LIGHT; }
INTERNAL bool os_guards_are_mappings(void) { return load_relaxed(&guard_kind) == GUARDS_HEAVY; }

/* A protection alone would keep the memory and its contents, so the memory is dropped first. */
INTERNAL bool os_shut(void* p, size_t size) {
  bool zero, dropped = os_purge(p, size, true, &zero);
  if (!dropped) { /* the memory is locked; and a part may be inaccessible already */
    if (!os_open(p, size) || (os_guards_are_light() && !unguard_lightly(p, size)))
      return os_decommit(p, size);
    memset(p, 0, size);
  }
  /* A part may be protected. If the kernel does not open it again, the range counts as closed. */
  if (!os_protect(p, size)) return !os_open(p, size);
#if defined(__linux__)
  if (dropped) (void)os_purge(p, size, true, &zero); /* drops what was written in between */
#endif
  return true;
}

/* Called after an attempt that failed with `error`. The kernel may have set some of the guards. If
 * it refuses to remove them with the same error, it has no light guards and has set none. A new
 * mapping each time would split the program's mappings. */
static void undo_guards(void* p, size_t size, int error) {
  int undone = guard_lightly(p, size, false);
  if (undone != 0 && (undone != error || error == ENOMEM)) (void)os_remap(p, size);
}

/* An emulator may accept any advice and ignore it; the kernel refuses advice -1. */
static bool advice_is_heeded(void* p, size_t size) { return !advise(p, size, -1); }

INTERNAL bool os_guard(void* p, size_t size) {
  int kind = load_relaxed(&guard_kind);
  int error = kind == GUARDS_HEAVY ? EINVAL : guard_lightly(p, size, true);
  if (kind != GUARDS_HEAVY && error != 0) undo_guards(p, size, error);
  bool done = error == 0;
  if (kind == GUARDS_UNKNOWN) {
    int wanted = done && advice_is_heeded(p, size) ? GUARDS_LIGHT : GUARDS_HEAVY;
    /* The kind never changes, because a guard must be removed in the way it was set. */
    if (cas_acquire(&guard_kind, &kind, wanted)) kind = wanted;
    if (done && kind == GUARDS_HEAVY) done = !unguard_lightly(p, size);
  }
  if (kind == GUARDS_HEAVY && !done) done = os_shut(p, size);
  return done;
}

INTERNAL bool os_unguard(void* p, size_t size) {
  /* os_open would make the range accessible, but a light guard in it would stay. */
  return os_guards_are_light() ? unguard_lightly(p, size) : os_open(p, size);
}

INTERNAL bool os_remap(void* p, size_t size) {
  return map_memory(p, size, OS_LAZY, MAP_FIXED) != NULL;
}

INTERNAL bool os_move(void* dst, void* src, size_t size) {
#if defined(MREMAP_DONTUNMAP) && defined(MREMAP_FIXED)
  /* DONTUNMAP keeps the source mapped: otherwise another thread's mmap could land in the hole.
   * First the pages move to an address that the kernel chooses. If the source is not one mapping,
   * that fails without harm; a direct move to dst would unmap dst before it fails. */
  void* between = keeping_errno(mremap(src, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
  if (between == MAP_FAILED) return false;
  if (keeping_errno(mremap(between, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, dst)) == dst)
    return true;
    /* The kernel is out of memory, and may have unmapped dst. Map it again, unless another thread
     * has mapped something there. */
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

INTERNAL bool os_munlock(void* p, size_t size) {
  char* start = (char*)round_up((uintptr_t)p, os_info.page_size);
  size_t whole = round_down((size_t)((char*)p + size - start), os_info.page_size);
  return keeping_errno(munlock(start, whole)) == 0;
}

/* A new mapping counts against the limit, but not the growth of one that is unlocked. */
INTERNAL void* os_reserve_unlocked(size_t size) {
#if defined(MREMAP_MAYMOVE)
  void* p = map_memory(NULL, os_info.page_size, OS_LAZY, 0);
  void* grown = p != NULL && os_munlock(p, os_info.page_size)
                    ? keeping_errno(mremap(p, os_info.page_size, size, MREMAP_MAYMOVE))
                    : MAP_FAILED;
  if (grown != MAP_FAILED) return grown;
  if (p != NULL) os_release(p, os_info.page_size);
#endif
  return (void)size, NULL;
}

INTERNAL void os_disable_huge_pages(void) { store_relaxed(&huge_disabled, true); }

INTERNAL void os_advise_huge(void* p, size_t size, bool use) {
#if defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)
  if (use && load_relaxed(&huge_disabled)) return;
  (void)advise(p, size, use ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
  (void)p, (void)size, (void)use;
#endif
}

INTERNAL void os_advise_dump(void* p, size_t size, bool dump) {
#if defined(MADV_DONTDUMP) && defined(MADV_DODUMP)
  (void)advise(p, size, dump ? MADV_DODUMP : MADV_DONTDUMP);
#else
  (void)p, (void)size, (void)dump;
#endif
}

#if defined(__linux__)
/* The kernel splits a huge page before it treats a part of it as cold. */
INTERNAL void os_split_huge(void* p, size_t size) { (void)advise(p, size, MADV_COLD); }

INTERNAL size_t os_mapping_limit(void) {
  static _Atomic(size_t) limit; /* relaxed: a number that publishes nothing */
  size_t known = load_relaxed(&limit);
  if (known != 0) return known;
  char text[24];
  bool told = read_file("/proc/sys/vm/max_map_count", text, sizeof(text)) > 0;
  known = told ? strtoul(text, NULL, 10) : 65530; /* the kernel's own default */
  store_relaxed(&limit, known);
  return known;
}
#else
INTERNAL void os_split_huge(void* p, size_t size) { (void)p, (void)size; }
INTERNAL size_t os_mapping_limit(void) { return SIZE_MAX; }
#endif

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
/* For a system that refuses random numbers. The loader gives each program 16 random bytes. The C
 * library protects the stack with them, so the results must not reveal them: two multiplications,
 * each with its halves folded. The clock and the count make the results differ. */
static uint64_t weak_random(void) {
  static _Atomic(uint64_t) count; /* relaxed: a number that publishes nothing */
  uint64_t seed[2] = {(uintptr_t)&count, (uintptr_t)&seed}, n = add_relaxed(&count, 1) + 1;
#if defined(__linux__)
  const void* issued = (const void*)(uintptr_t)getauxval(AT_RANDOM);
  if (issued != NULL) memcpy(seed, issued, sizeof(seed));
#endif
  struct timespec now = {0, 0};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t time = (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec;
  uint64_t x = multiply_fold(seed[0] ^ time, seed[1] ^ n * UINT64_C(0x9e3779b97f4a7c15));
  return multiply_fold(x ^ seed[1], seed[0] + n);
}

INTERNAL bool os_random(uint64_t* random) {
#if defined(SYS_getrandom)
  long got = keeping_errno(syscall(SYS_getrandom, random, sizeof(*random), 1L /* NONBLOCK */));
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
  void* p = map_memory(NULL, os_info.page_size, OS_LAZY, 0);
  if (p == NULL || advise(p, os_info.page_size, MADV_WIPEONFORK)) return p;
  os_release(p, os_info.page_size);
#endif
  return NULL;
}
#endif

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
#endif
