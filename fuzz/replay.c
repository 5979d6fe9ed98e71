/* replay.c - runs a fuzz target on files, without libFuzzer: any compiler, any build.
 *
 *   fuzz_NAME-replay [-q] FILE|FOLDER...
 *
 * Folders are read in the order of names. A file that is wrong ends the program, as a crash of the
 * target does; its name is the last one that was printed.
 */
#include "fuzz.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define FILE_MAX ((size_t)1 << 20)

static size_t files;

static void replay_file(const char* path, bool quiet) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) FUZZ_FAIL("cannot open %s", path);
  uint8_t* data = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FUZZ_CHECK(data != MAP_FAILED);
  size_t size = 0;
  ssize_t n;
  while (size < FILE_MAX && (n = read(fd, data + size, FILE_MAX - size)) > 0) size += (size_t)n;
  close(fd);
  if (!quiet) fuzz_say("%s: %zu bytes\n", path, size);
  if (LLVMFuzzerTestOneInput(data, size) != 0) FUZZ_FAIL("%s: not 0", path);
  munmap(data, FILE_MAX);
  files++;
}

static int visible(const struct dirent* entry) { return entry->d_name[0] != '.'; }

static void replay(const char* path, bool quiet) {
  struct stat about;
  if (stat(path, &about) != 0) FUZZ_FAIL("no such file: %s", path);
  if (!S_ISDIR(about.st_mode)) {
    replay_file(path, quiet);
    return;
  }
  struct dirent** names;
  int count = scandir(path, &names, &visible, &alphasort);
  FUZZ_CHECK(count >= 0);
  for (int i = 0; i < count; i++) {
    char name[4096];
    snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
    replay(name, quiet);
    free(names[i]);
  }
  free(names);
}

int main(int argc, char** argv) {
  bool quiet = argc > 1 && strcmp(argv[1], "-q") == 0;
  for (int i = quiet ? 2 : 1; i < argc; i++) replay(argv[i], quiet);
  fuzz_say("%zu inputs, all as they should be\n", files);
  return files > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
