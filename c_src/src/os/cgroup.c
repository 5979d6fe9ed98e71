/* os/cgroup.c - the memory limit of the container that the process lives in, on Linux.
 *
 * Threads: any; no state. It needs about 5 KiB of stack.
 *
 * /proc/self/cgroup names the process's control group in each hierarchy, in lines
 * "number:controllers:path". Version 2 has one hierarchy, whose line has no controllers. A
 * container may see a path that does not exist in its own file system; then only the ancestors that
 * exist count, up to the root of the hierarchy.
 */
#include "os.h"

#if OS_UNIX && defined(__linux__)

#include "unix_common.h"
#include <stdlib.h>

#define GROUPS_MAX 4096 /* bytes of the list that are read */
#define FILE_MAX 1024   /* groups with longer paths are ignored */

static bool is_in_list(const char* list, const char* name) {
  size_t n = strlen(name);
  for (const char* s = list;; s++) {
    if (strncmp(s, name, n) == 0 && (s[n] == ',' || s[n] == 0)) return true;
    if ((s = strchr(s, ',')) == NULL) return false;
  }
}

/* The path in the line of the controller, or, with NULL, in the line of version 2; NULL if there is
 * no such line. Writes into the text. */
static char* path_of_group(char* text, const char* controller) {
  for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
    *end = 0;
    char* list = strchr(line, ':');
    char* path = list != NULL ? strchr(++list, ':') : NULL;
    if (path == NULL) continue;
    *path++ = 0;
    if (controller == NULL ? *list == 0 : is_in_list(list, controller)) return path;
  }
  return NULL;
}

/* The number in the file; SIZE_MAX if there is no such file or no limit. Without a limit version 1
 * has a number near 2^63 there, and version 2 a word. */
static size_t limit_in(const char* path) {
  char text[32];
  if (read_file(path, text, sizeof(text)) == 0 || text[0] < '0' || text[0] > '9') return SIZE_MAX;
  unsigned long long limit = keeping_errno(strtoull(text, NULL, 10)); /* saturates */
  return limit >= SIZE_MAX / 2 - MiB ? SIZE_MAX : (size_t)limit;
}

/* The least limit of the group `group` and its ancestors. */
static COLD size_t least_limit(const char* root, const char* mount, const char* group,
                               const char* file) {
  char path[FILE_MAX];
  size_t base = strlen(root) + strlen(mount), end = base + strlen(group), least = SIZE_MAX;
  if (end + strlen(file) >= sizeof(path)) return SIZE_MAX;
  memcpy(path, root, strlen(root));
  memcpy(path + strlen(root), mount, strlen(mount));
  memcpy(path + base, group, strlen(group));
  for (;;) {
    memcpy(path + end, file, strlen(file) + 1);
    least = min_size(least, limit_in(path));
    if (end <= base) return least;
    do end--;
    while (end > base && path[end] != '/');
  }
}

static COLD size_t limit_of_hierarchy(const char* root, const char* controller, const char* mount,
                                      const char* file) {
  static const char list[] = "/proc/self/cgroup";
  char text[GROUPS_MAX];
  size_t n = strlen(root);
  if (n + sizeof(list) > sizeof(text)) return SIZE_MAX;
  memcpy(text, root, n);
  memcpy(text + n, list, sizeof(list));
  (void)read_file(text, text, sizeof(text));
  char* group = path_of_group(text, controller);
  return group == NULL ? SIZE_MAX : least_limit(root, mount, group, file);
}

INTERNAL size_t os_container_limit(const char* root) {
  if (root == NULL) root = "";
  size_t v2 = limit_of_hierarchy(root, NULL, "/sys/fs/cgroup", "/memory.max");
  size_t v1 = limit_of_hierarchy(root, "memory", "/sys/fs/cgroup/memory", "/memory.limit_in_bytes");
  return min_size(v1, v2);
}

#else
INTERNAL size_t os_container_limit(const char* root) { return (void)root, SIZE_MAX; }
#endif
