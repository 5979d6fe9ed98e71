/* attack.h - what the kinds of attack share: the cell, the ways to allocate, the blocks, the
 * verdict.
 *
 * The program attacks the allocator that is preloaded under it, one cell of the product a process.
 * How it ends is the result; `run` beside this file reads it.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses of a process that no signal ended. */
enum { ENDED_HARMLESS = 0, ENDED_MISSED = 3, ENDED_IMPOSSIBLE = 4, ENDED_BROKEN = 5 };

/* A way to allocate and to release. All functions take and give what the program sees. */
typedef struct entry_s {
  const char* name;
  size_t alignment; /* of each block, where that is more than usual */
  void* (*allocate)(size_t size);
  void (*release)(void* p, size_t size);
  void* (*resize)(void* p, size_t size);
  void (*release_as)(void* p, size_t said); /* told a size */
  /* Legal here, but of another family. */
  void (*release_other)(void* p);
  void (*release_array)(void* p);
  void (*release_scalar)(void* p);
  void (*release_aligned)(void* p);
  void* (*allocate_array)(size_t size);
  void* (*allocate_aligned)(size_t size);
  /* Why a member is NULL; `absent` is why there is no such entry at all. */
  const char* absent;
  const char* no_resize;
  const char* no_release_as;
  const char* no_release_scalar;
  const char* no_release_aligned;
} entry_t;

enum { ENTRY_COUNT = 5 };
extern entry_t entries[ENTRY_COUNT];
/* Looks for the functions in the process; a missing one is NULL with a reason. */
void entries_find(void);
/* mi_collect(true) or what the C library has in its place; NULL if there is nothing. */
void (*collect_find(void))(void);

/* The cell that this process is. */
typedef struct cell_s {
  const char* kind;
  size_t size;
  bool other; /* the violation is done by another thread than the one that allocated */
  size_t moment;
  const entry_t* entry;
} cell_t;
extern cell_t cell;

typedef struct kind_s {
  const char* name;
  void (*attack)(void);
  const char* (*impossible)(void); /* NULL, or says why the cell cannot be, or returns NULL */
} kind_t;
extern const kind_t kinds[];
extern const size_t kind_count;

/* The attack has reached its aim. The process goes on: the allocator may still notice. */
void reached(const char* what);
/* Ends the process: the attack cannot be made, which is a fault of ours. */
_Noreturn void broken(const char* what);

/* Runs `step` in the thread that does the violation. */
void act(void (*step)(void));
/* Runs `step` in a second thread in any case, and both at the same moment. */
void both(void (*step)(void));

/* The cell's number of other operations: on blocks of other sizes, so that none of them gets the
 * block in question. */
void others_start(void);
void others_run(void);

/* Memory that must not be allocated again: live blocks, and memory of the program. */
void live_add(void* p, size_t size);
void live_remove(void* p);
/* Allocates by the cell's entry; reaches the aim if the block overlaps what is live. */
void* take(size_t size);
/* Many more blocks of the cell's size, by the violating thread and by the first one; reaches the
 * aim if one of them overlaps what is live, or comes twice. */
void hunt(void);
/* Releases what hunt() allocated, once, and unless the aim is reached. */
void hunt_release(void);
/* Allocates and releases until `wanted` (or, when that is NULL, any block) satisfies `look`, or
 * gives up. The blocks are not touched otherwise. */
void hunt_for(const void* wanted, bool (*look)(const void* p));
/* How many blocks of the cell's size make a crowd. */
size_t crowd(void);
