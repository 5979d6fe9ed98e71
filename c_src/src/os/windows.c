/* os/windows.c - the operating system, for Windows (7 and later).
 *
 * Owns:    os_info, the TLS slots, the copy of the environment.
 * Always:  memory is private; memory that was never written or was committed again reads as zero.
 *          Windows reserves address space in units of 64 KiB and releases whole reservations only,
 *          so the end of a range is only decommitted.
 * Threads: any; the slots and the environment are set up before a second thread starts.
 */
#include "os.h"

#if OS_WINDOWS

#include "../base/atomic.h"

#include <errno.h>
#include <stdlib.h>
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef PSAPI_VERSION
#define PSAPI_VERSION 2 /* the functions of kernel32, which need no other library */
#endif
#include <windows.h>
/* After windows.h, whose types it needs. */
#include <psapi.h>
#include "not_unix.h"

/* Windows charges each writable byte, to memory or to the page file. */
static os_info_t os_info = {.page_size = 4096, .ahead_max = SIZE_MAX};

static DWORD hook_slot = TLS_OUT_OF_INDEXES;
static void (*thread_hook)(void*);
static char* environment; /* entries "NAME=value" in a row, each with its terminator */
#if OS_THREAD_WORD
static unsigned long os_thread_slot = TLS_OUT_OF_INDEXES;
#endif

INTERNAL void os_init(void) {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  if (info.dwPageSize > 0) os_info.page_size = info.dwPageSize;
  /* The copy comes from the system's heap, and is never freed. */
  if (environment == NULL) environment = GetEnvironmentStringsA();
#if OS_THREAD_WORD
  if (os_thread_slot == TLS_OUT_OF_INDEXES) os_thread_slot = TlsAlloc();
#endif
}

/* ---- memory ---- */

static void* map_memory(void* at, size_t size, os_access_t access) {
  DWORD type = access == OS_INACCESSIBLE ? MEM_RESERVE : MEM_RESERVE | MEM_COMMIT;
  void* p =
      VirtualAlloc(at, size, type, access == OS_INACCESSIBLE ? PAGE_NOACCESS : PAGE_READWRITE);
  if (p == NULL || is_addressable(p, size)) return p;
  (void)VirtualFree(p, 0, MEM_RELEASE);
  return NULL;
}

#define ALIGN_TRIES 8 /* another thread may take the addresses that were just found free */

INTERNAL void* os_reserve(size_t size, size_t align, os_access_t access) {
  char* p = map_memory(NULL, size, access);
  if (p == NULL || ((uintptr_t)p & (align - 1)) == 0) return p;
  (void)VirtualFree(p, 0, MEM_RELEASE);
  if (size + align < size) return NULL;
  for (int i = 0; i < ALIGN_TRIES; i++) {
    p = map_memory(NULL, size + align, OS_INACCESSIBLE);
    if (p == NULL) return NULL;
    char* aligned = (char*)round_up((uintptr_t)p, align);
    (void)VirtualFree(p, 0, MEM_RELEASE); /* Windows cannot release a part */
    p = map_memory(aligned, size, access);
    if (p != NULL) return p;
  }
  return NULL;
}

INTERNAL void os_release(void* p, size_t size) {
  MEMORY_BASIC_INFORMATION info;
  if (size == 0) return;
  if (VirtualQuery(p, &info, sizeof(info)) != 0 && info.AllocationBase == p)
    (void)VirtualFree(p, 0, MEM_RELEASE);
  else
    (void)VirtualFree(p, size, MEM_DECOMMIT); /* the addresses go with the rest of the range */
}

INTERNAL size_t os_numa_nodes(void) {
  ULONG highest = 0;
  return GetNumaHighestNodeNumber(&highest) ? (size_t)highest + 1 : 1;
}

INTERNAL bool os_commit(void* p, size_t size) {
  return VirtualAlloc(p, size, MEM_COMMIT, PAGE_READWRITE) != NULL;
}
INTERNAL bool os_decommit(void* p, size_t size) { return VirtualFree(p, size, MEM_DECOMMIT) != 0; }

INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero) {
  /* The addresses must stay usable, and Windows may refuse a commit after a decommit. MEM_RESET
   * tells Windows that the contents are worthless. To unlock pages that are not locked removes them
   * from the working set at once. */
  (void)decommits;
  *zero = false;
  if (VirtualAlloc(p, size, MEM_RESET, PAGE_READWRITE) == NULL) return false;
  (void)VirtualUnlock(p, size);
  return true;
}

INTERNAL bool os_protect(void* p, size_t size) {
  DWORD before;
  return VirtualProtect(p, size, PAGE_NOACCESS, &before) != 0;
}

/* A protection would keep the memory and its contents. */
INTERNAL bool os_shut(void* p, size_t size) { return os_decommit(p, size); }
INTERNAL bool os_open(void* p, size_t size) { return os_commit(p, size); }

INTERNAL size_t os_resident(const void* p, size_t size) {
  PSAPI_WORKING_SET_EX_INFORMATION pages[64];
  size_t page = os_info.page_size, total = 0;
  char* at = (char*)round_down((uintptr_t)p, page);
  size_t left = round_up((size_t)((const char*)p + size - at), page) / page;
  while (left > 0) {
    size_t n = min_size(left, sizeof(pages) / sizeof(pages[0]));
    memset(pages, 0, sizeof(pages));
    for (size_t i = 0; i < n; i++) pages[i].VirtualAddress = at + i * page;
    if (!QueryWorkingSetEx(GetCurrentProcess(), pages, (DWORD)(n * sizeof(pages[0])))) return total;
    for (size_t i = 0; i < n; i++) total += pages[i].VirtualAttributes.Valid ? page : 0;
    at += n * page;
    left -= n;
  }
  return total;
}

/* ---- time and process ---- */

INTERNAL uint64_t os_clock_ms(void) { return GetTickCount64(); }

static size_t to_ms(FILETIME t) { /* counts 100 ns */
  return (size_t)(((uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime) / 10000);
}

INTERNAL void os_process(os_process_t* info) {
  FILETIME created, ended, system, user;
  PROCESS_MEMORY_COUNTERS memory;
  memset(info, 0, sizeof(*info));
  if (GetProcessTimes(GetCurrentProcess(), &created, &ended, &system, &user)) {
    info->user_ms = to_ms(user);
    info->system_ms = to_ms(system);
  }
  if (GetProcessMemoryInfo(GetCurrentProcess(), &memory, sizeof(memory))) {
    info->rss = memory.WorkingSetSize;
    info->peak_rss = max_size(memory.PeakWorkingSetSize, memory.WorkingSetSize);
    info->page_faults = memory.PageFaultCount;
  }
}

#if MI_SECURE > 0
/* The name of RtlGenRandom in advapi32, which every program is linked with. */
BOOLEAN NTAPI SystemFunction036(PVOID to, ULONG size);
INTERNAL bool os_random(uint64_t* random) {
  if (SystemFunction036(random, sizeof(*random))) return true;
  LARGE_INTEGER now; /* weak against an attacker on the same machine */
  (void)QueryPerformanceCounter(&now);
  *random = ((uintptr_t)&now ^ (uint64_t)now.QuadPart) * UINT64_C(0x9e3779b97f4a7c15);
  return false;
}
#endif

INTERNAL uintptr_t os_thread_id(void) { return GetCurrentThreadId(); }
INTERNAL void os_nap(unsigned us) { Sleep(us / 1000 + 1); }

INTERNAL const char* os_environment(size_t i) {
  /* Where the last call ended: calls come in rising order, at the start of the process only. */
  static const char* entry;
  static size_t index;
  if (environment == NULL) return NULL;
  if (entry == NULL || i < index) entry = environment, index = 0;
  for (; index < i && *entry != 0; index++) entry += strlen(entry) + 1;
  return *entry != 0 ? entry : NULL;
}

INTERNAL void os_write_error(const char* text, size_t length) {
  HANDLE to = GetStdHandle(STD_ERROR_HANDLE);
  DWORD n;
  if (to == NULL || to == INVALID_HANDLE_VALUE) return;
  for (; length > 0; text += n, length -= n) {
    DWORD part = (DWORD)min_size(length, 64 * KiB);
    if (!WriteFile(to, text, part, &n, NULL) || n == 0) return;
  }
}

INTERNAL char* os_real_path(const char* path, char* resolved) {
  if (path == NULL) {
    errno = EINVAL;
    return NULL;
  }
  DWORD n = GetFullPathNameA(path, OS_PATH_MAX, resolved, NULL);
  if (n > 0 && n < OS_PATH_MAX && GetFileAttributesA(resolved) != INVALID_FILE_ATTRIBUTES)
    return resolved;
  errno = ENOENT;
  return NULL;
}

/* ---- threads ---- */

_Static_assert(sizeof(os_lock_t) == sizeof(SRWLOCK), "a lock of ours is one of theirs");

INTERNAL void os_lock(os_lock_t* lock) { AcquireSRWLockExclusive((SRWLOCK*)lock); }
INTERNAL void os_unlock(os_lock_t* lock) { ReleaseSRWLockExclusive((SRWLOCK*)lock); }
INTERNAL void os_lock_reset(os_lock_t* lock) { lock->srw = NULL; }

#if OS_THREAD_WORD
INTERNAL COLD void* os_thread_word_slow(void) {
  if (os_thread_slot == TLS_OUT_OF_INDEXES) return NULL;
  DWORD error = GetLastError(); /* TlsGetValue changes it even when it succeeds */
  void* word = TlsGetValue(os_thread_slot);
  SetLastError(error);
  return word;
}
INTERNAL void os_set_thread_word(void* word) { (void)TlsSetValue(os_thread_slot, word); }
#endif

INTERNAL bool os_thread_hook(void (*hook)(void*)) {
  thread_hook = hook;
  hook_slot = TlsAlloc();
  return hook_slot != TLS_OUT_OF_INDEXES;
}
INTERNAL void os_thread_hook_set(void* value) {
  if (hook_slot != TLS_OUT_OF_INDEXES) (void)TlsSetValue(hook_slot, value);
}

/* The loader calls this at the end of each thread, in a program and in a DLL, even if the C library
 * did not start the thread. FlsAlloc would not do: its callback runs at the end of a fiber, and a
 * thread may leave a fiber and go on. The end of the process kills the other threads without this
 * call, and frees all memory. */
static void NTAPI thread_callback(PVOID module, DWORD reason, PVOID reserved) {
  (void)module, (void)reserved;
  if (reason != DLL_THREAD_DETACH || hook_slot == TLS_OUT_OF_INDEXES) return;
  void* value = TlsGetValue(hook_slot);
  if (value == NULL) return;
  (void)TlsSetValue(hook_slot, NULL);
  thread_hook(value);
}

/* The linker sorts these sections by name and joins them to one table. .CRT$XLY comes after the C
 * library's own entries, which include the destructors of thread-local objects. */
#if defined(_MSC_VER)
#if defined(_M_IX86)
#pragma comment(linker, "/INCLUDE:__tls_used")
#else
#pragma comment(linker, "/INCLUDE:_tls_used")
#endif
#pragma section(".CRT$XLY", long, read)
extern const PIMAGE_TLS_CALLBACK os_thread_callback;
__declspec(allocate(".CRT$XLY")) const PIMAGE_TLS_CALLBACK os_thread_callback = thread_callback;
#else
static const PIMAGE_TLS_CALLBACK os_thread_callback __attribute__((section(".CRT$XLY"), used)) =
    thread_callback;
#endif

INTERNAL void os_thread_hook_remove(void) {
  if (hook_slot != TLS_OUT_OF_INDEXES) (void)TlsFree(hook_slot);
  hook_slot = TLS_OUT_OF_INDEXES;
}

#endif
