/* atomic.h - atomics with the memory order in the name.
 *
 * Owns:    nothing.
 * Always:  each use says at the call what it pairs with; a relaxed one says why it publishes
 *          nothing.
 */
#pragma once

#include <stdatomic.h>

/* Read-modify-write of a byte: on RISC-V, GCC before version 13 calls a library for it. */
#define NO_BYTE(p) ((p) + 0 * sizeof(char[sizeof(*(p)) > 1 ? 1 : -1]))

#define load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define add_relaxed(p, v) atomic_fetch_add_explicit(NO_BYTE(p), (v), memory_order_relaxed)
#define sub_relaxed(p, v) atomic_fetch_sub_explicit(NO_BYTE(p), (v), memory_order_relaxed)
#define or_relaxed(p, v) atomic_fetch_or_explicit(NO_BYTE(p), (v), memory_order_relaxed)
#define or_release(p, v) atomic_fetch_or_explicit(NO_BYTE(p), (v), memory_order_release)
#define and_acquire(p, v) atomic_fetch_and_explicit(NO_BYTE(p), (v), memory_order_acquire)
#define sub_release(p, v) atomic_fetch_sub_explicit(NO_BYTE(p), (v), memory_order_release)
#define swap_acq_rel(p, v) atomic_exchange_explicit(NO_BYTE(p), (v), memory_order_acq_rel)

/* Acquire and release, and all threads agree on one order of all these operations. */
#define load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define add_seq_cst(p, v) atomic_fetch_add_explicit(NO_BYTE(p), (v), memory_order_seq_cst)
#define or_seq_cst(p, v) atomic_fetch_or_explicit(NO_BYTE(p), (v), memory_order_seq_cst)
#define and_seq_cst(p, v) atomic_fetch_and_explicit(NO_BYTE(p), (v), memory_order_seq_cst)
#define swap_seq_cst(p, v) atomic_exchange_explicit(NO_BYTE(p), (v), memory_order_seq_cst)

/* On failure `*expected` becomes the value that was found. */
#define CAS(strength, p, expected, v, order, order_of_failure)                                     \
  atomic_compare_exchange_##strength##_explicit(NO_BYTE(p), (expected), (v), memory_order_##order, \
                                                memory_order_##order_of_failure)
#define cas_acquire(p, expected, v) CAS(strong, p, expected, v, acquire, relaxed)
#define cas_relaxed(p, expected, v) CAS(strong, p, expected, v, relaxed, relaxed)
#define cas_acq_rel(p, expected, v) CAS(strong, p, expected, v, acq_rel, acquire)
#define cas_seq_cst(p, expected, v) CAS(strong, p, expected, v, seq_cst, seq_cst)
#define cas_weak_acq_rel(p, expected, v) CAS(weak, p, expected, v, acq_rel, acquire)
#define cas_weak_relaxed(p, expected, v) CAS(weak, p, expected, v, relaxed, relaxed)

/* Stops the compiler, not the processor, from moving memory accesses across it. A fork copies
 * memory while the other threads stand at any point of their program order. The copy must be
 * consistent at each such point. */
#define compiler_fence() atomic_signal_fence(memory_order_seq_cst)

/* For a counter that one thread writes and any thread reads: no read-modify-write is needed.
 * Relaxed: statistics only, it publishes nothing. */
#define bump_counter(p, v) store_relaxed((p), load_relaxed(p) + (v))
