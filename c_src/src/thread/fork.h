/* fork.h - handlers for a fork: before it, and after it in the parent and in the child. */
#pragma once

#include "../base/base.h"

INTERNAL void fork_prepare(void);
INTERNAL void fork_parent(void);
INTERNAL void fork_child(void);
