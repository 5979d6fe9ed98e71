/* os_pages.h - a system that has large (2 MiB) and huge (1 GiB) OS pages and several nodes, or
 * not, as a test plans it; and a record of what the library asked for. See os_pages.c. */
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
  unsigned huge_ms;   /* time that the making of each takes */
  size_t huge_touch;  /* that may be touched, as under a control group's limit */
  bool old_populate;  /* the system cannot make pages resident ahead of need */
  bool hole_is_taken; /* somebody maps a page where a mapping has failed */
  size_t gap_taken;   /* and behind this many unmappings of 1 GiB, where that was; 0: never */
  const char* nodes;  /* list of nodes with memory; NULL: no such file */
  const char* online; /* list of nodes; NULL: no such file */
  int bind_error;     /* errno of mbind; 0: it works */
  /* The record. */
  size_t maps, unmaps, protects; /* all calls */
  size_t purges;                 /* calls of madvise that give memory back */
  size_t advised;                /* bytes with the wish for large pages */
  size_t large_asked, huge_asked, populated, binds;
  os_page_map_t map[OS_PAGES_KEPT];
  size_t map_count;
  char* taken[OS_PAGES_KEPT]; /* what somebody has mapped */
  size_t taken_count;
} os_pages_t;

/* Read and written without a lock: plans are made while one thread runs. Before main() it comes
 * from the environment: OS_PAGES_HUGE, OS_PAGES_LARGE (numbers) and OS_PAGES_NODES. */
extern os_pages_t os_pages;
