/* os_pages.h - a system with large (2 MiB) and huge (1 GiB) OS pages and several nodes, or without,
 * as the test plans; and a record of the calls of the library. See os_pages.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define OS_PAGES_KEPT 32

/* One successful mapping of large or huge pages. */
typedef struct os_page_map_s {
  char* at;
  size_t size;
  int flags;
  unsigned long nodes; /* mask of the nodes that it was bound to */
} os_page_map_t;

typedef struct os_pages_s {
  /* The plan. */
  bool active;        /* else requests go to the real system as they are */
  size_t large_pages; /* to spare */
  size_t huge_pages;  /* to spare */
  unsigned huge_ms;   /* time to make each */
  size_t huge_touch;  /* number that may be touched, as with a control group's limit */
  bool old_populate;  /* the system cannot populate pages */
  bool hole_is_taken; /* another mapping appears where a mapping has failed */
  size_t gap_taken;   /* and after so many unmappings of 1 GiB, in their place; 0: never */
  const char* nodes;  /* list of nodes with memory; NULL: no such file */
  const char* online; /* list of nodes; NULL: no such file */
  int bind_error;     /* errno of mbind; 0: it works */
  /* The record. */
  size_t maps, unmaps, protects; /* all calls */
  size_t purges;                 /* calls of madvise that give memory back */
  size_t advised;                /* bytes with the advice for large pages */
  size_t large_asked, huge_asked, populated, binds;
  os_page_map_t map[OS_PAGES_KEPT];
  size_t map_count;
  char* taken[OS_PAGES_KEPT]; /* these other mappings */
  size_t taken_count;
} os_pages_t;

/* Accessed without a lock: plans are made while one thread runs. Before main() the plan comes from
 * the environment: OS_PAGES_HUGE, OS_PAGES_LARGE (numbers) and OS_PAGES_NODES. */
extern os_pages_t os_pages;
