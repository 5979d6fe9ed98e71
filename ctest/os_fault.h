/* os_fault.h - refuses system calls on request, see os_fault.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Calls are numbered from 1, from the start of the process. */
typedef struct os_fault_s {
  size_t calls; /* so far, of all wrapped kinds */
  size_t refused;
} os_fault_t;

os_fault_t os_fault_state(void);
/* Refuses call number `first`, and with `all` each one after it; 0 refuses none. */
void os_fault_set(size_t first, bool all);
