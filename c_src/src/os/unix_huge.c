/* os/unix_huge.c - large and huge OS pages, and the nodes that have memory, on Unix.
 *
 * Owns:    the number of attempts at large pages to skip.
 * Threads: any; that number is a hint.
 */
#include "os.h"

#if OS_UNIX

#include "../base/atomic.h"
#include "unix_common.h"

#include <stdlib.h>
#include <sys/mman.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

/* The kernel has it since 5.14; the headers of the C library may lack it. An older kernel answers
 * EINVAL. */
#if defined(__linux__) && !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif

#define LARGE_SHIFT 21
#define LARGE_SIZE ((size_t)1 << LARGE_SHIFT)
#define HUGE_SHIFT 30
#define HUGE_PAGES_MAX (ADDRESS_BITS > 32 ? (size_t)1 << (ADDRESS_BITS - HUGE_SHIFT) : 0)
_Static_assert(OS_HUGE_SIZE == (size_t)1 << HUGE_SHIFT, "1 GiB");

#define LARGE_SKIPS 8 /* attempts skipped after one that failed */
static _Atomic(unsigned) large_skips;

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0 /* the address is a hint then, and map_pages checks the result */
#endif

/* Pages of 1 << `shift` bytes, at `at` if that is not NULL. Never with MAP_NORESERVE: the kernel
 * would not set the pages aside, and would kill the process at the first touch of a missing one. */
static void* map_pages(void* at, size_t size, int shift) {
#if defined(MAP_HUGETLB)
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (shift << MAP_HUGE_SHIFT);
  if (at != NULL) flags |= MAP_FIXED_NOREPLACE;
  void* p = mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if ((at == NULL || p == at) && is_addressable(p, size)) return p;
  os_release(p, size);
#endif
  return (void)at, (void)size, (void)shift, NULL;
}

static void* reserve_hugetlb(size_t size, size_t align) {
  if ((size & (LARGE_SIZE - 1)) != 0 || align > LARGE_SIZE) return NULL;
  /* Relaxed: if two threads race, they skip one attempt more or less. */
  unsigned skips = load_relaxed(&large_skips);
  if (skips > 0) {
    store_relaxed(&large_skips, skips - 1);
    return NULL;
  }
  void* p = map_pages(NULL, size, LARGE_SHIFT); /* at a multiple of the page's size */
  if (p == NULL) store_relaxed(&large_skips, LARGE_SKIPS);
  return p;
}

INTERNAL void* os_reserve_large(size_t size, size_t align, bool* non_purgeable) {
  void* p = reserve_hugetlb(size, align);
  *non_purgeable = p != NULL;
  if (p != NULL) return p;
  p = os_reserve(size, size >= LARGE_SIZE ? max_size(align, LARGE_SIZE) : align, OS_LAZY);
  if (p != NULL) os_advise_huge(p, size, true);
  return p;
}

#define NODE_MAX 1024 /* above every node number of the system */

/* Returns how many nodes have memory (0: the system does not tell). `*node` becomes the number of
 * the `index`-th of them, if there is one: numbers may be missing, and nodes may be empty. */
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

/* By the bare system call, because its library is not installed everywhere. */
static bool bind_to_node(void* p, size_t size, unsigned long node) {
#if defined(SYS_mbind)
  enum { PREFERRED = 1, BITS = 8 * sizeof(unsigned long) };
  unsigned long mask[NODE_MAX / BITS] = {0};
  mask[node / BITS] = 1UL << (node % BITS);
  /* The kernel expects the number of bits plus one. */
  return syscall(SYS_mbind, p, size, (long)PREFERRED, mask, (long)NODE_MAX + 1, 0L) == 0;
#else
  return (void)p, (void)size, (void)node, false;
#endif
}

/* Makes the page resident. A control group may allow fewer pages than the kernel has set aside; the
 * kernel kills a process that touches one page too many. */
static bool populate(void* p, size_t size) {
#if defined(MADV_POPULATE_WRITE)
  if (madvise(p, size, MADV_POPULATE_WRITE) == 0) return true;
  return errno != ENOMEM && errno != EFAULT && errno != EHWPOISON; /* older systems cannot tell */
#else
  return (void)p, (void)size, true;
#endif
}

/* Replaces reserved addresses by a huge page. False: there is none, and the addresses are unmapped.
 * It unmaps them first: a fixed mapping that fails may unmap the old one, and another thread may
 * map something into that hole before the caller unmaps the rest. */
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
    node = ULONG_MAX; /* no node to choose */
  uint64_t start = os_clock_ms();
  char* at = NULL;
  size_t n = min_size(pages, HUGE_PAGES_MAX), tried = 0;
  for (; n > 0; n /= 2) /* fewer if address space is scarce */
    if ((at = os_reserve(n * OS_HUGE_SIZE, OS_HUGE_SIZE, OS_INACCESSIBLE)) != NULL) break;
  while (tried < n && huge_page_take(at + tried++ * OS_HUGE_SIZE, node, &huge.bound)) {
    huge.pages++;
    if (timeout_ms != 0 && os_clock_ms() - start >= timeout_ms) break;
  }
  if (tried < n) os_release(at + tried * OS_HUGE_SIZE, (n - tried) * OS_HUGE_SIZE);
  if (huge.pages > 0) huge.start = at;
  return huge;
}
#endif
