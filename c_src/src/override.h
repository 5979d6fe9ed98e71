/* override.h - how the names of the C library and of the C++ runtime are defined.
 *
 * "Visible" is what a program has by a name: ours, or its own where it brings one, for the program
 * comes before a library that it loads, and a weak definition gives way to another when both are
 * linked together. Ours that lead to another name go by what is visible.
 */
#ifndef MI_OVERRIDE_H
#define MI_OVERRIDE_H

#include "base.h"

/* The names are declared where they are defined, not taken from the system's headers, whose
 * attributes differ from one to the next. For the rest of the unit: these files are its end. */
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
/* A name that is the same function as one of ours. */
#define ALIAS(target) EXPORT ALIAS_OF(target)
/* What we define, whatever is visible by its name. */
#define OWN(target) static ALIAS_OF(target)

/* What the program has by this name. The loader answers, or the linker, and not the compiler, which
 * sees ours. A program may have our function by an address of its own (where it is linked for fixed
 * addresses), so "not ours" is an answer that must do for ours, too. For an alias or a weak name:
 * Clang knows what a function that stands here is called inside. */
#define visible(name)                                                                              \
  __extension__({                                                                                  \
    __typeof__(&name) visible_ = &name;                                                            \
    __asm__("" : "+r"(visible_));                                                                  \
    visible_;                                                                                      \
  })

/* A direct call of a weak name goes by what is visible: with this by one jump, not two. */
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define NOPLT __attribute__((noplt))
#endif
#endif
#ifndef NOPLT
#define NOPLT
#endif

#endif
