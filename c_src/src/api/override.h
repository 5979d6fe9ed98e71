/* override.h - how the names of the C library and of the C++ runtime are defined.
 *
 * The "visible" function is the one that the program gets by a name: ours, or its own if it defines
 * one. A program comes before the libraries that it loads, and a weak definition gives way to
 * another one when both are linked together. Where a function of ours forwards to another name, it
 * calls the visible one.
 */
#pragma once

#include "../base/base.h"

/* The names are declared where they are defined. The declarations of the system headers are not
 * used: their attributes differ between systems. The pragmas hold for the rest of the unit, which
 * ends with these files. */
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wattributes"
#pragma GCC diagnostic ignored "-Wmissing-attributes"
#pragma GCC diagnostic ignored "-Wattribute-alias"

#define EXPORT __attribute__((visibility("default")))
#define WEAK __attribute__((weak))
#define SYMBOL(name) SYMBOL_(name)
#define SYMBOL_(name) #name
#if defined(__clang__) || !defined(__GNUC__)
#define ALIAS_OF(target) __attribute__((alias(SYMBOL(target))))
#else
#define ALIAS_OF(target) __attribute__((alias(SYMBOL(target)), copy(target)))
#endif
/* Defines a name as an alias of one of our functions. */
#define ALIAS(target) EXPORT ALIAS_OF(target)
/* Our definition, even if the program has its own by this name. */
#define OWN(target) static ALIAS_OF(target)

/* The function that is visible by this name. The loader or the linker decides which it is; the
 * compiler sees only ours. A program that is linked for fixed addresses may see our function at
 * another address, so the answer "not ours" must also work for our function. For aliases and weak
 * names only: Clang resolves a plain function to the definition in this unit. */
#define visible(name)                                                                              \
  __extension__({                                                                                  \
    __typeof__(&name) visible_ = &name;                                                            \
    __asm__("" : "+r"(visible_));                                                                  \
    visible_;                                                                                      \
  })

/* `own_<name>`: our definition. */
#define is_ours(name) (visible(name) == &own_##name)

/* A direct call of a weak name reaches the visible function; with this by one jump instead of
 * two. */
#if __has_attribute(noplt)
#define NOPLT __attribute__((noplt))
#else
#define NOPLT
#endif
