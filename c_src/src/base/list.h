/* list.h - doubly linked lists with the links in the elements.
 *
 * Owns:    nothing. A list is any struct with `first` and `last`.
 * Always:  `first` and `last` of an empty list are NULL, and so are the `prev` of the first element
 *          and the `next` of the last.
 * Threads: those that own the list; if a lock guards it, the caller holds the lock.
 *
 * The macros take the names of the element's two links. So an element may be in several lists
 * through different links, and the compiler checks the types.
 */
#pragma once

#include "base.h"

#define LIST_PUSH_FRONT(list, element, next, prev)                                                 \
  do {                                                                                             \
    (element)->prev = NULL;                                                                        \
    (element)->next = (list)->first;                                                               \
    *((list)->first != NULL ? &(list)->first->prev : &(list)->last) = (element);                   \
    (list)->first = (element);                                                                     \
  } while (0)

#define LIST_PUSH_BACK(list, element, next, prev)                                                  \
  do {                                                                                             \
    (element)->next = NULL;                                                                        \
    (element)->prev = (list)->last;                                                                \
    *((list)->last != NULL ? &(list)->last->next : &(list)->first) = (element);                    \
    (list)->last = (element);                                                                      \
  } while (0)

#define LIST_REMOVE(list, element, next, prev)                                                     \
  do {                                                                                             \
    *((element)->prev != NULL ? &(element)->prev->next : &(list)->first) = (element)->next;        \
    *((element)->next != NULL ? &(element)->next->prev : &(list)->last) = (element)->prev;         \
    (element)->next = (element)->prev = NULL;                                                      \
  } while (0)

/* True if the element is in the list. The element is in this list or in none. */
#define LIST_HAS(list, element, prev) ((element)->prev != NULL || (list)->first == (element))
