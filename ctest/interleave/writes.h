/* writes.h - counts writes to cache lines that another thread wrote last.
 *
 * The threads are simulated: they take turns, and each operation runs to its end. So the counts do
 * not depend on the machine. The library is compiled with -fsanitize=thread and linked with
 * writes.c in place of the sanitizer's runtime: the compiler calls us at each access.
 */
#ifndef INTERLEAVE_WRITES_H
#define INTERLEAVE_WRITES_H

#include <stddef.h>
#include <stdint.h>

#define LINE_SIZE 64
#define KINDS_MAX 16 /* of operations */
#define HOT_MAX 64   /* names of words, of each kind of operation */

typedef struct hot_s {
  const char* name;
  size_t writes;
  size_t of_neighbour; /* of these: the other thread wrote another word of the line */
} hot_t;

typedef struct counts_s {
  size_t operations;
  size_t atomic, plain; /* shared writes: by the atomic wrappers and locks; by plain stores */
  hot_t hot[HOT_MAX];
} counts_t;

/* Writes to [start, start + size) are looked at. */
void writes_watch(const void* start, size_t size);
/* The thread that runs from here on, and the operation that it begins. */
void writes_begin(int thread);
/* The operation ends, and was of this kind; with a negative one its writes are not counted. */
void writes_end(int kind);
void writes_reset(void); /* the counts; not the last writers */
counts_t* writes_of(int kind);

/* What the programs provide: which word this is. NULL: it is the simulation's own. */
const char* world_name(uintptr_t address);

#endif
