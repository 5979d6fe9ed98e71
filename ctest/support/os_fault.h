/* os_fault.h - refuses system calls on request, see os_fault.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* What a call is for. */
typedef enum os_call_e {
  OS_CALL_ANY,      /* all of those below except the last */
  OS_CALL_RESERVE,  /* new address space */
  OS_CALL_COMMIT,   /* makes it accessible */
  OS_CALL_DECOMMIT, /* gives memory and access back */
  OS_CALL_REMAP,    /* maps a range of the library again */
  OS_CALL_PURGE,    /* gives memory back */
  OS_CALL_PROTECT,  /* guard pages */
  OS_CALL_MOVE,
  OS_CALL_ADVISE, /* huge pages */
  OS_CALL_RELEASE /* gives address space back */
} os_call_t;

/* Counts calls of the planned kind, from 1, since the start of the process. */
typedef struct os_fault_s {
  size_t calls; /* so far */
  size_t refused;
} os_fault_t;

os_fault_t os_fault_state(void);
/* How mremap behaves, in addition. */
typedef enum os_mremap_e {
  OS_MREMAP_WORKS,
  OS_MREMAP_FAILS,      /* always, as for a source that is not one mapping */
  OS_MREMAP_FIXED_FAILS /* with a fixed target only, as when the kernel is out of memory */
} os_mremap_t;

/* A failing mremap with a fixed target has unmapped the target before, as in older kernels. */
void os_fault_mremap(os_mremap_t mode);
size_t os_fault_mremap_failures(void); /* failures of the real system count too */
size_t os_fault_mremap_successes(void);
/* Refuses call number `first`, and with `all` each one after it; 0 refuses none. */
void os_fault_set(size_t first, bool all);
