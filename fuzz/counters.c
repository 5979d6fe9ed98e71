/* counters.c - where the compiler's coverage counters lie, for fuzz.h.
 *
 * Compiled without coverage: beside the compiler's own references to the same two symbols the
 * linker would take them for undefined. They are named as the linker has it for any section.
 */
#include <stddef.h>
#include <stdint.h>

extern uint8_t __start___sancov_cntrs[] __attribute__((visibility("hidden")));
extern uint8_t __stop___sancov_cntrs[] __attribute__((visibility("hidden")));

uint8_t* fuzz_counters(size_t* count);

uint8_t* fuzz_counters(size_t* count) {
  *count = (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs);
  return __start___sancov_cntrs;
}
