/* memory.h - each execution begins with the same memory.
 *
 * All that the library can write to is write-protected after the set-up. The first write to an OS
 * page saves it, and from then on it is put back before each execution.
 */
#ifndef INTERLEAVE_MEMORY_H
#define INTERLEAVE_MEMORY_H

#include "state.h"
#include <signal.h>

void engine_add_memory(void* start, size_t size) {
  range_t* r = &e->ranges[e->range_count];
  r->start = (char*)((uintptr_t)start & ~(OS_PAGE - 1));
  r->end = (char*)(((uintptr_t)start + size + OS_PAGE - 1) & ~(OS_PAGE - 1));
  e->is_touched[e->range_count++] = os_memory((size_t)(r->end - r->start) / OS_PAGE);
}

static uint8_t* touched_flag(const void* p) {
  for (size_t i = 0; i < e->range_count; i++)
    if ((char*)p >= e->ranges[i].start && (char*)p < e->ranges[i].end)
      return &e->is_touched[i][(size_t)((char*)p - e->ranges[i].start) / OS_PAGE];
  return NULL;
}

bool engine_is_touched(const void* p, size_t size) {
  uint8_t* flag = touched_flag(p);
  return memchr(flag, 1, ((uintptr_t)p % OS_PAGE + size + OS_PAGE - 1) / OS_PAGE) != NULL;
}

static void page_touch(char* page, uint8_t* flag) {
  if (e->touched_count == TOUCHED_MAX) {
    fputs("interleave: too much memory is written to\n", stderr);
    _exit(2);
  }
  char* saved = e->saved + e->touched_count * OS_PAGE;
  memcpy(saved, page, OS_PAGE);
  *flag = 1;
  e->touched[e->touched_count++] = (struct touched_s){page, saved};
}

static void fault(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  char* page = (char*)((uintptr_t)info->si_addr & ~(OS_PAGE - 1));
  uint8_t* flag = touched_flag(page);
  if (!e->ready || flag == NULL || *flag != 0) {
    signal(SIGSEGV, SIG_DFL);
    engine_violation("access to %p", info->si_addr);
  }
  page_touch(page, flag);
  mprotect(page, OS_PAGE, PROT_READ | PROT_WRITE);
}

static void memory_protect(void) {
  e->saved = os_memory(TOUCHED_MAX * OS_PAGE);
  for (size_t i = 0; i < e->range_count; i++) {
    range_t* r = &e->ranges[i];
    /* What the set-up wrote to is resident. (The first range is the program's own data.) */
    size_t pages = (size_t)(r->end - r->start) / OS_PAGE;
    unsigned char* resident = os_memory(pages);
    if (i > 0 && mincore(r->start, pages * OS_PAGE, resident) == 0)
      for (size_t k = 0; k < pages; k++)
        if ((resident[k] & 1) != 0) page_touch(r->start + k * OS_PAGE, &e->is_touched[i][k]);
    munmap(resident, pages);
    if (mprotect(r->start, (size_t)(r->end - r->start), PROT_READ) != 0) {
      perror("interleave: mprotect");
      _exit(2);
    }
  }
  for (size_t i = 0; i < e->touched_count; i++)
    mprotect(e->touched[i].page, OS_PAGE, PROT_READ | PROT_WRITE);
  e->ready = true;
}

static void memory_restore(void) {
  for (size_t i = 0; i < e->touched_count; i++)
    memcpy(e->touched[i].page, e->touched[i].saved, OS_PAGE);
}

#endif
