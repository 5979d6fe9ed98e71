/* os/unix_threads.c - threads, forks, and the image that contains the library, on Unix.
 *
 * Owns:    the thread-exit key, the id of the forking thread, the state of the image.
 * Always:  inside a fork os_lock does nothing in the forking thread, which holds all locks.
 * Threads: any; the image's state changes at the start and at the end of the image only.
 */
#include "os.h"

#if OS_UNIX

#include "../base/atomic.h"
#include "unix_common.h"
#include <stdlib.h>
/* Systems that forget an image's pthread_atfork handlers when they unload it. On the others the
 * image must stay loaded. */
#if defined(__linux__) || defined(__FreeBSD__)
#define CAN_BE_UNLOADED 1
#if defined(__GLIBC__)
#include <link.h>
#include <sys/auxv.h>
#endif
#else
#define CAN_BE_UNLOADED 0
#include <dlfcn.h>
#endif

static pthread_key_t thread_key;

static _Atomic(bool) thread_key_valid;

#if defined(__ANDROID__) /* which has no cancellation */
#define PTHREAD_CANCEL_DISABLE 0
#define pthread_setcancelstate(state, before) ((void)(state), (void)(before))
#endif

INTERNAL int os_cancel_off(void) {
  int state = 0;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
  return state;
}
INTERNAL void os_cancel_restore(int state) { (void)pthread_setcancelstate(state, NULL); }

INTERNAL uintptr_t os_thread_id(void) {
  uintptr_t id = 0;
  pthread_t self = pthread_self();
  memcpy(&id, &self, min_size(sizeof(id), sizeof(self)));
  return id;
}

INTERNAL void os_nap(unsigned us) {
  int cancel = os_cancel_off();
  (void)keeping_errno(nanosleep(&(struct timespec){0, (long)us * 1000}, NULL)); /* or a signal */
  os_cancel_restore(cancel);
}

/* ---- threads ---- */

/* The thread that is forking; 0: none. Relaxed: only that thread must see its own id. */
static _Atomic(uintptr_t) forking_thread;

INTERNAL bool is_forking(void) {
  uintptr_t thread = load_relaxed(&forking_thread);
  return unlikely(thread != 0) && thread == os_thread_id();
}

INTERNAL void os_fork_begin(void) { store_relaxed(&forking_thread, os_thread_id()); }

INTERNAL void os_fork_end(void) { store_relaxed(&forking_thread, 0); }

INTERNAL void os_lock(os_lock_t* lock) {
  if (!is_forking()) (void)pthread_mutex_lock(lock);
}

INTERNAL void os_unlock(os_lock_t* lock) {
  if (!is_forking()) (void)pthread_mutex_unlock(lock);
}

INTERNAL void os_lock_reset(os_lock_t* lock) {
  /* The child has one thread: the one that took the lock in the parent. */
  static const os_lock_t fresh = OS_LOCK_INIT;
  memcpy(lock, &fresh, sizeof(fresh));
}

/* ---- the image ---- */

/* The order of events tells the end of the process from an unloaded image. At the end of the
 * process the atexit functions run before the destructors. When an image is unloaded, its
 * destructors run first, then the atexit functions that it registered, in reverse order. So a
 * function that is registered before all constructors of the image runs after all objects of the
 * image are destroyed.
 *
 * In a library that the program starts with, the function would run after the destructors at the
 * end of the process too. There it is not registered. */
static struct {
  void (*unload)(void);
  bool ends; /* its destructors have begun */
  bool process_ends;
  bool stays; /* until the process ends */
} image;

INTERNAL bool os_thread_hook(void (*hook)(void*)) {
  if (image.ends || pthread_key_create(&thread_key, hook) != 0) return false;
  store_relaxed(&thread_key_valid, true); /* before any other thread reads it */
  return true;
}

INTERNAL void os_thread_hook_set(void* value) {
  /* Relaxed: if another thread deletes the key at this moment, the C library refuses it. */
  if (load_relaxed(&thread_key_valid)) (void)pthread_setspecific(thread_key, value);
}

INTERNAL void os_thread_hook_remove(void) {
  if (load_relaxed(&thread_key_valid)) (void)pthread_key_delete(thread_key);
  store_relaxed(&thread_key_valid, false);
}

INTERNAL void os_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  if (!image.ends) (void)pthread_atfork(prepare, parent, child);
}

#if CAN_BE_UNLOADED && defined(__GLIBC__)
/* True if the library's image comes before the loader in the list of objects. Images that the
 * program starts with do, because the C library depends on the loader. An image that dlopen loads
 * comes after it. */
static int find_image(struct dl_phdr_info* object, size_t size, void* found) {
  (void)size;
  if (object->dlpi_addr == getauxval(AT_BASE)) return 1;
  for (size_t i = 0; i < object->dlpi_phnum; i++) {
    uintptr_t start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
    if (object->dlpi_phdr[i].p_type == PT_LOAD &&
        (uintptr_t)&image - start < object->dlpi_phdr[i].p_memsz)
      return *(bool*)found = true;
  }
  return 0;
}
/* The first object of a namespace is the program, which has no name, or was loaded by dlmopen. */
static int is_program(struct dl_phdr_info* object, size_t size, void* unused) {
  (void)size, (void)unused;
  return object->dlpi_name[0] == 0 ? 1 : -1;
}
static bool is_loaded_for_good(void) {
  bool found = false;
  if (getauxval(AT_BASE) != 0 && dl_iterate_phdr(&is_program, NULL) == 1)
    (void)dl_iterate_phdr(&find_image, &found);
  return found;
}
#else
static bool is_loaded_for_good(void) { return false; }
#endif

static void image_at_exit(void) {
  if (image.ends) {
    image.unload();
  } else {
    image.process_ends = true;
    os_thread_hook_remove(); /* an unload from here on does not call this function again */
  }
}

INTERNAL void os_at_unload(void (*unload)(void)) {
  image.unload = unload;
  image.stays = is_loaded_for_good();
  if (image.stays) return;
  if (CAN_BE_UNLOADED && atexit(&image_at_exit) == 0) return;
#if !CAN_BE_UNLOADED && defined(RTLD_NODELETE) && defined(RTLD_NOLOAD)
  Dl_info info;
  if (dladdr((void*)(uintptr_t)&image_at_exit, &info) != 0)
    (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD);
#endif
}

INTERNAL void os_image_ends(void) { image.ends = !image.process_ends && !image.stays; }

#endif
