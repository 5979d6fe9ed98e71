/* log.c - messages, errors, and the reaction to errors.
 *
 * Owns:    the registered output and error functions, the buffer of early messages, the counts.
 * Always:  it allocates nothing; a message that a thread raises while it prints one is dropped.
 * Threads: any.
 */
#include "log.h"
#include "../base/checker.h"
#include "callback.h"

#define MESSAGE_MAX 512
#define PRINTING_MAX 8
#define EARLY_MAX (32 * 1024)

static log_config_t log_config = {MI_SHOW_ERRORS || MI_DEBUG > 0, 0, 32, 32};

static struct {
  callback_t output;
  callback_t error;
  _Atomic(long) errors, warnings;            /* printed so far */
  _Atomic(uintptr_t) printing[PRINTING_MAX]; /* threads in an output function; 0: free */
  size_t early_used;                         /* bytes of `early`, guarded by log_lock */
  bool early_closed;
} logger;
static char early[EARLY_MAX + 1] APART;

static os_lock_t log_lock = OS_LOCK_INIT;

/* ---- formatting ---- */

typedef struct text_s {
  char* at;
  char* end; /* a byte for the terminator follows */
} text_t;

static void put(text_t* t, char c) {
  if (t->at < t->end) *t->at++ = c;
}

static void put_text(text_t* t, const char* s, size_t width, bool left) {
  size_t n = strlen(s), spaces = width > n ? width - n : 0;
  for (; !left && spaces > 0; spaces--) put(t, ' ');
  while (*s != 0) put(t, *s++);
  for (; spaces > 0; spaces--) put(t, ' ');
}

static void put_number(text_t* t, unsigned long long x, unsigned base) {
  char digits[20]; /* of 2^64 */
  size_t i = sizeof(digits);
  do {
    digits[--i] = "0123456789abcdef"[x % base];
    x /= base;
  } while (x != 0);
  while (i < sizeof(digits)) put(t, digits[i++]);
}

static size_t format_va(char* buf, size_t size, const char* f, va_list args) {
  text_t t = {buf, buf + size - 1};
  for (; *f != 0; f++) {
    if (*f != '%') {
      put(&t, *f);
      continue;
    }
    bool left = f[1] == '-';
    f += left ? 2 : 1;
    size_t width = 0;
    for (; *f >= '0' && *f <= '9'; f++) width = width * 10 + (size_t)(*f - '0');
    bool is_size = *f == 'z';
    size_t longs = strspn(f, "l");
    f += is_size + longs;
    if (*f == 's') {
      put_text(&t, va_arg(args, const char*), width, left);
    } else if (*f == 'p') {
      put_text(&t, "0x", 0, false);
      put_number(&t, (uintptr_t)va_arg(args, void*), 16);
    } else if (*f == 'd') {
      long long x = longs == 2   ? va_arg(args, long long)
                    : longs == 1 ? va_arg(args, long)
                                 : va_arg(args, int);
      if (x < 0) put(&t, '-');
      put_number(&t, x < 0 ? 0 - (unsigned long long)x : (unsigned long long)x, 10);
    } else if (*f == 'u' || *f == 'x') {
      unsigned long long x = is_size      ? va_arg(args, size_t)
                             : longs == 2 ? va_arg(args, unsigned long long)
                             : longs == 1 ? va_arg(args, unsigned long)
                                          : va_arg(args, unsigned);
      put_number(&t, x, *f == 'x' ? 16 : 10);
    } else {
      put(&t, *f);
    }
  }
  *t.at = 0;
  return (size_t)(t.at - buf);
}

INTERNAL size_t format_text(char* buf, size_t size, const char* format, ...) {
  va_list args;
  va_start(args, format);
  size_t n = format_va(buf, size, format, args);
  va_end(args);
  return n;
}

/* ---- output ---- */

/* Claims an entry of `printing`. False if this thread has one already, because its output function
 * raised a message, or if all are taken. */
static bool printing_enter(size_t* entry) {
  uintptr_t self = os_thread_id();
  /* Relaxed: the only entry that matters to this thread is one that it wrote itself. */
  for (size_t i = 0; i < PRINTING_MAX; i++)
    if (load_relaxed(&logger.printing[i]) == self) return false;
  for (*entry = 0; *entry < PRINTING_MAX; ++*entry) {
    uintptr_t none = 0;
    if (cas_acquire(&logger.printing[*entry], &none, self)) return true;
  }
  return false;
}

static void keep_early(const char* text, size_t n) {
  os_lock(&log_lock);
  if (!logger.early_closed) {
    n = min_size(n, EARLY_MAX - logger.early_used);
    memcpy(early + logger.early_used, text, n);
    logger.early_used += n;
  }
  os_unlock(&log_lock);
}

/* Writes the text to `out`, or to the registered function, or to standard error. */
static void write_text(mi_output_fun* out, void* arg, const char* text, size_t n) {
  size_t entry;
  int cancel = os_cancel_off();
  if (!printing_enter(&entry)) {
    os_cancel_restore(cancel);
    return;
  }
  int saved = errno;
  if (out == NULL) out = (mi_output_fun*)callback_get(&logger.output, &arg);
  if (out != NULL) {
    out(text, arg);
  } else {
    os_write_error(text, n);
    keep_early(text, n);
  }
  errno = saved;
  store_release(&logger.printing[entry], 0);
  os_cancel_restore(cancel);
}

INTERNAL void log_print(mi_output_fun* out, void* arg, const char* format, ...) {
  char buf[MESSAGE_MAX];
  va_list args;
  va_start(args, format);
  size_t n = format_va(buf, sizeof(buf), format, args);
  va_end(args);
  write_text(out, arg, buf, n);
}

static void message_va(const char* kind, const char* format, va_list args) {
  char buf[MESSAGE_MAX];
  size_t n = format_text(buf, sizeof(buf), "mimalloc: %s", kind);
  format_va(buf + n, sizeof(buf) - n, format, args);
  write_text(NULL, NULL, buf, strlen(buf));
}

/* True if one more message of a kind may be printed. Relaxed: the configuration is a hint. */
static bool may_print(_Atomic(long)* count, _Atomic(long)* max) {
  if (load_relaxed(&log_config.verbose) != 0) return true;
  if (load_relaxed(&log_config.show_errors) == 0) return false;
  long limit = load_relaxed(max);
  return limit < 0 || add_relaxed(count, 1) < limit;
}

INTERNAL void log_warning(const char* format, ...) {
  if (!may_print(&logger.warnings, &log_config.max_warnings)) return;
  va_list args;
  va_start(args, format);
  message_va("warning: ", format, args);
  va_end(args);
}

/* Errors that end the program if it has registered no error function. */
static bool is_fatal(int code) {
  if (MI_XMALLOC && (code == ENOMEM || code == EOVERFLOW)) return true;
  /* A wrong pointer or a double free: debug builds report it and go on. */
  if (MI_SECURE > 0 && (code == EINVAL || code == EAGAIN)) return true;
  return (MI_CHECKED || MI_TRACK) && code == EFAULT;
}

INTERNAL void log_error(int code, const char* format, ...) {
  void* arg;
  mi_error_fun* handler = (mi_error_fun*)callback_get(&logger.error, &arg);
  bool fatal = handler == NULL && is_fatal(code);
  if (may_print(&logger.errors, &log_config.max_errors) || fatal) {
    va_list args;
    va_start(args, format);
    message_va("error: ", format, args);
    va_end(args);
  }
  if (handler != NULL) {
    int cancel = os_cancel_off();
    handler(code, arg);
    os_cancel_restore(cancel);
  }
  if (fatal) os_abort();
}

INTERNAL void log_reset_after_fork(void) {
  for (size_t i = 0; i < PRINTING_MAX; i++)
    store_relaxed(&logger.printing[i], 0); /* the child has none of the threads that printed */
}

#if MI_DEBUG > 0
/* Declared in base.h. */
INTERNAL _Noreturn void assert_failed(const char* what, const char* file, int line) {
  log_print(NULL, NULL, "mimalloc: assertion failed: %s at %s:%d\n", what, file, line);
  os_abort();
}
#endif

void mi_register_output(mi_output_fun* out, void* arg) mi_attr_noexcept {
  size_t n = 0;
  os_lock(&log_lock);
  callback_set(&logger.output, (uintptr_t)out, arg);
  if (out != NULL) {
    n = logger.early_used;
    early[n] = 0;
    logger.early_used = 0;
    logger.early_closed = true;
  }
  os_unlock(&log_lock);
  /* Outside the lock, because the function may print. No thread writes the buffer any more. */
  if (n > 0) {
    int cancel = os_cancel_off();
    out(early, arg);
    os_cancel_restore(cancel);
  }
}

void mi_register_error(mi_error_fun* fun, void* arg) mi_attr_noexcept {
  os_lock(&log_lock);
  callback_set(&logger.error, (uintptr_t)fun, arg);
  os_unlock(&log_lock);
}

INTERNAL COLD void* log_out_of_memory(size_t size) {
  log_error(ENOMEM, "unable to allocate %zu bytes\n", size);
  errno = ENOMEM;
  return NULL;
}
