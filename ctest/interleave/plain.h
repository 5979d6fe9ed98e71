/* plain.h - what -fsanitize=thread calls at plain accesses, for engine.c and writes.c. The includer
 * defines ON_READ(p, n) and ON_WRITE(p, n), statements about `n` bytes at `p`, before the include.
 */
void __tsan_init(void);
void __tsan_func_entry(void*);
void __tsan_func_exit(void);
void __tsan_atomic_signal_fence(int);
void __tsan_init(void) {}
void __tsan_func_entry(void* pc) { (void)pc; }
void __tsan_func_exit(void) {}
void __tsan_atomic_signal_fence(int order) { (void)order; }

#define PLAIN(n)                                                                                   \
  void __tsan_read##n(void*);                                                                      \
  void __tsan_write##n(void*);                                                                     \
  void __tsan_unaligned_read##n(void*);                                                            \
  void __tsan_unaligned_write##n(void*);                                                           \
  void __tsan_read##n(void* p) { ON_READ(p, n); }                                                  \
  void __tsan_write##n(void* p) { ON_WRITE(p, n); }                                                \
  void __tsan_unaligned_read##n(void* p) { ON_READ(p, n); }                                        \
  void __tsan_unaligned_write##n(void* p) { ON_WRITE(p, n); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void*, size_t);
void __tsan_write_range(void*, size_t);
void __tsan_read_range(void* p, size_t n) { ON_READ(p, n); }
void __tsan_write_range(void* p, size_t n) { ON_WRITE(p, n); }
