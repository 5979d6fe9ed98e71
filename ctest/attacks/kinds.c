/* kinds.c - the kinds of attack, each from its set-up to its aim.
 *
 * Each kind has one violation. The cell's thread commits it, and the cell's number of other
 * operations lies between it and the event that comes next:
 *
 *   overflow, underflow         write, other operations, release
 *   use or release after free   release, other operations, use or release
 *   wrong address, size, family allocate, other operations, release
 *   addresses                   other operations, allocate
 *
 * Then the attack goes on for as long as it takes to profit. It has reached its aim when a block is
 * allocated over a live one, when a live block has changed, when a secret can be read, or when the
 * addresses of one run tell those of the next.
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EDGE = 4096, MIB = 1024 * 1024, CROWD_MAX = 64 };
#define SECRET UINT64_C(0x5ec2e75ec2e75ec2)

static char* block[CROWD_MAX];
static char* victim;

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Of large blocks only the edges are touched. */
static size_t edge(void) { return smaller(cell.size, EDGE); }

static void set_up_blocks(void) {
  for (size_t i = 0; i < crowd(); i++) {
    block[i] = take(cell.size);
    if (block[i] == NULL) broken("out of memory");
  }
  victim = block[crowd() / 2];
}

static void release_block(char* p) {
  live_remove(p);
  cell.entry->release(p, cell.size);
}

static void release_victim(void) { release_block(victim); }

static void release_all(void) {
  for (size_t i = 0; i < crowd(); i++) release_block(block[i]);
}

/* ---- beyond a block ---- */

static unsigned char mark_of(size_t i) { return (unsigned char)(0x80 + i); }

static void mark_blocks(void) {
  for (size_t i = 0; i < crowd(); i++) {
    memset(block[i], mark_of(i), edge());
    memset(block[i] + cell.size - edge(), mark_of(i), edge());
  }
}

static void look_at_blocks(void) {
  for (size_t i = 0; i < crowd(); i++) {
    if (block[i] == victim) continue;
    const unsigned char* ends[] = {(unsigned char*)block[i],
                                   (unsigned char*)block[i] + cell.size - edge()};
    for (size_t k = 0; k < 2; k++)
      for (size_t n = 0; n < edge(); n++)
        if (ends[k][n] != mark_of(i)) reached("a neighbour has changed");
  }
}

/* The block with the nearest other block after it, or before it. */
static void choose_near(bool behind) {
  size_t nearest = SIZE_MAX;
  for (size_t i = 0; i < crowd(); i++)
    for (size_t k = 0; k < crowd(); k++) {
      uintptr_t low = (uintptr_t)block[behind ? i : k], high = (uintptr_t)block[behind ? k : i];
      if (low >= high || high - low >= nearest) continue;
      nearest = high - low;
      victim = block[i];
    }
}

static struct {
  size_t length;
  bool copy, below;
} beyond;

/* One byte is written with a value that it does not have; of more bytes some differ anyway. */
static void write_beyond(void) {
  static unsigned char source[MIB];
  unsigned char* from = (unsigned char*)victim + (beyond.below ? 0 : cell.size);
  unsigned char value = 'A';
  if (beyond.length == 1 && (beyond.below ? from[-1] : from[0]) == value) value = 'B';
  if (beyond.copy) {
    memset(source, value, beyond.length);
    memcpy(beyond.below ? from - beyond.length : from, source, beyond.length);
    return;
  }
  volatile unsigned char* to = from; /* or the compiler makes a call of it */
  for (size_t i = 0; i < beyond.length; i++) *(beyond.below ? to - 1 - i : to + i) = value;
}

static void go_beyond(size_t length, bool copy, bool below) {
  beyond.length = length, beyond.copy = copy, beyond.below = below;
  set_up_blocks();
  mark_blocks();
  choose_near(!below);
  act(write_beyond);
  look_at_blocks();
  others_run();
  act(release_victim);
  for (size_t i = 0; i < crowd(); i++)
    if (block[i] != victim) release_block(block[i]);
  hunt();
}

#define BEYOND(name, length, copy, below)                                                          \
  static void name(void) { go_beyond(length, copy, below); }
BEYOND(overflow_1_store, 1, false, false)
BEYOND(overflow_8_store, 8, false, false)
BEYOND(overflow_32_store, 32, false, false)
BEYOND(overflow_1m_store, MIB, false, false)
BEYOND(overflow_1_copy, 1, true, false)
BEYOND(overflow_8_copy, 8, true, false)
BEYOND(overflow_32_copy, 32, true, false)
BEYOND(overflow_1m_copy, MIB, true, false)
BEYOND(underflow_1_store, 1, false, true)
BEYOND(underflow_8_store, 8, false, true)
BEYOND(underflow_32_store, 32, false, true)
BEYOND(underflow_1m_store, MIB, false, true)
BEYOND(underflow_1_copy, 1, true, true)
BEYOND(underflow_8_copy, 8, true, true)
BEYOND(underflow_32_copy, 32, true, true)
BEYOND(underflow_1m_copy, MIB, true, true)

/* ---- a block after its release ---- */

static void fill_secret(void) {
  for (size_t n = 0; n + sizeof(uint64_t) <= edge(); n += sizeof(uint64_t))
    *(volatile uint64_t*)(victim + n) = SECRET;
}

static bool holds_secret(const void* p) {
  const volatile uint64_t* word = p;
  for (size_t n = 0; n < edge() / sizeof(uint64_t); n++)
    if (word[n] == SECRET) return true;
  return false;
}

/* The victim has another owner now, unless it is in quarantine for longer than this tries. */
static bool handed_out_again;
static bool note_handed_out(const void* p) {
  (void)p;
  return handed_out_again = true;
}

static const char* no_resize(void) { return cell.entry->no_resize; }

static void set_up_and_release(void) {
  set_up_blocks();
  fill_secret();
  release_victim();
  others_run();
}

static void read_stale(void) {
  if (holds_secret(victim)) reached("a released block can still be read");
}

static void uaf_read(void) {
  set_up_and_release();
  act(read_stale);
}

/* The written bytes are in the block when it is allocated again, as if its new owner had written
 * them. */
#define STALE UINT64_C(0x57a1e57a1e57a1e5)
static size_t stale_offset;
static void write_stale(void) { *(volatile uint64_t*)(victim + stale_offset) = STALE; }
static bool holds_stale(const void* p) {
  return *(const volatile uint64_t*)((const char*)p + stale_offset) == STALE;
}

static bool found_stale(const void* p) {
  if (holds_stale(p)) reached("what was written after the release is in the next owner's block");
  return true;
}

/* Half of the crowd goes too, as a page may wait until some of its blocks are free. */
static void hunt_for_victim(bool (*look)(const void* p)) {
  for (size_t i = 0; i < crowd(); i += 2)
    if (block[i] != victim) release_block(block[i]);
  hunt_for(victim, look);
}

static void write_after_free(size_t offset) {
  set_up_and_release();
  stale_offset = offset;
  act(write_stale);
  hunt_for_victim(found_stale);
}
static void uaf_write_first(void) { write_after_free(0); }
static void uaf_write_last(void) { write_after_free(cell.size - sizeof(uint64_t)); }

/* The allocator has given the victim's memory back to the system, as far as it does; the address
 * can be written to as before. */
static void uaf_write_purged(void) {
  void (*collect)(void) = collect_find();
  set_up_blocks();
  fill_secret();
  release_all();
  collect();
  others_run();
  stale_offset = 0;
  act(write_stale);
  hunt_for(victim, found_stale);
}
static const char* no_collect(void) {
  return collect_find() == NULL ? "the library has no call that purges" : NULL;
}

/* The second half of a block that has shrunk to a quarter. */
static volatile uint64_t* tail_end(void) { return (uint64_t*)(victim + cell.size); }
static size_t tail_words(void) { return smaller(cell.size / 2, EDGE) / sizeof(uint64_t); }

static void read_tail(void) {
  for (size_t n = 1; n <= tail_words(); n++)
    if (*(tail_end() - n) == SECRET) reached("what a block gave up can still be read");
}

static void tail_read(void) {
  set_up_blocks();
  for (size_t n = 1; n <= tail_words(); n++) *(tail_end() - n) = SECRET;
  live_remove(victim);
  if (cell.entry->resize(victim, cell.size / 4) == NULL) broken("a block cannot shrink");
  others_run();
  act(read_tail);
}

static void uaf_read_reused(void) {
  set_up_and_release();
  hunt_for(victim, note_handed_out);
  if (!handed_out_again) return;
  fill_secret(); /* by the new owner */
  act(read_stale);
}

static void uaf_write_reused(void) {
  set_up_and_release();
  hunt_for(victim, note_handed_out);
  if (!handed_out_again) return;
  fill_secret();
  stale_offset = 0;
  act(write_stale);
  if (holds_stale(victim)) reached("the block of a new owner was written");
}

static void free_again(void) { cell.entry->release(victim, cell.size); }

static void double_free(void) {
  set_up_and_release();
  act(free_again);
  hunt();
}

static void double_free_reused(void) {
  set_up_and_release();
  hunt_for(victim, note_handed_out);
  if (!handed_out_again) return;
  live_add(victim, cell.size);
  act(free_again);
  hunt();
}

static void double_free_race(void) {
  set_up_blocks();
  live_remove(victim);
  others_run();
  both(free_again);
  hunt();
}
static const char* one_thread(void) { return cell.other ? NULL : "a race needs two threads"; }

static void resize_stale(void) {
  char* p = cell.entry->resize(victim, cell.size);
  if (p != NULL) live_add(p, cell.size);
}

static void realloc_freed(void) {
  set_up_and_release();
  act(resize_stale);
  hunt();
}

static bool found_secret(const void* p) {
  bool found = holds_secret(p);
  if (found) reached("a new block holds a secret");
  return found;
}

static void uninitialised_read(void) {
  set_up_and_release();
  hunt_for(NULL, found_secret);
}

/* ---- an address that is no block's ---- */

static char* wrong;

static void release_wrong(void) { cell.entry->release(wrong, cell.size); }

static void free_wrong(void) {
  others_run();
  act(release_wrong);
  hunt();
}

static void free_interior(void) {
  set_up_blocks();
  size_t middle = cell.size / 2 / 16 * 16;
  wrong = victim + (middle != 0 ? middle : 8);
  free_wrong();
}

static void free_misaligned(void) {
  set_up_blocks();
  wrong = victim + 1;
  free_wrong();
}

static void free_end(void) {
  set_up_blocks();
  choose_near(true);
  wrong = victim + cell.size;
  free_wrong();
}

enum { AREA_SIZE = 64 * 1024, AREA_HEAD = 4096 };

/* Memory of our own that pretends to be a block: with what the C library keeps in front of one. */
static void free_area(char* area) {
  set_up_blocks();
  wrong = area + AREA_HEAD;
  *(size_t*)(wrong - sizeof(size_t)) = ((cell.size + sizeof(size_t) + 15) & ~(size_t)15) | 1;
  if (cell.size < AREA_SIZE - 2 * AREA_HEAD)
    *(size_t*)(wrong + ((cell.size + 15) & ~(size_t)15) + sizeof(size_t)) = 0x1001;
  live_add(wrong, smaller(cell.size, AREA_SIZE - AREA_HEAD));
  free_wrong();
}

static void free_foreign(void) {
  char* area = mmap(NULL, cell.size + AREA_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) broken("no memory of our own");
  free_area(area);
}

static void free_stack(void) {
  _Alignas(4096) char area[AREA_SIZE];
  free_area(area);
}

static _Alignas(4096) char static_area[AREA_SIZE];
static void free_static(void) { free_area(static_area); }

static void free_purged(void) {
  void (*collect)(void) = collect_find();
  set_up_blocks();
  release_all();
  collect();
  others_run();
  wrong = victim;
  act(release_wrong);
  hunt();
}

/* ---- a wrong size, another family ---- */

static size_t said_size;
static void release_as_said(void) {
  live_remove(victim);
  cell.entry->release_as(victim, said_size);
}

static void release_with(size_t said) {
  set_up_blocks();
  others_run();
  said_size = said;
  act(release_as_said);
  hunt();
  for (size_t i = 0; i < crowd(); i++) take(said);
}
static void sized_free_less(void) { release_with(cell.size - 1); }
static void sized_free_more(void) { release_with(cell.size + 1); }
static void sized_free_half(void) { release_with(cell.size / 2); }
static void sized_free_double(void) { release_with(cell.size * 2); }
static const char* no_release_as(void) { return cell.entry->no_release_as; }

static void (*family_release)(void* p);
static void release_by_family(void) {
  live_remove(victim);
  family_release(victim);
}

static void release_by(void (*release)(void* p), void* (*allocate)(size_t size)) {
  set_up_blocks();
  if (allocate != NULL) {
    victim = allocate(cell.size);
    live_add(victim, cell.size);
  }
  others_run();
  family_release = release;
  act(release_by_family);
  hunt();
}
static void mismatched_other(void) { release_by(cell.entry->release_other, NULL); }
static void mismatched_array(void) { release_by(cell.entry->release_array, NULL); }
static void mismatched_scalar(void) {
  release_by(cell.entry->release_scalar, cell.entry->allocate_array);
}
static void mismatched_aligned(void) {
  release_by(cell.entry->release_aligned, cell.entry->allocate_aligned);
}
static const char* no_release_scalar(void) { return cell.entry->no_release_scalar; }

/* ---- a block of no bytes, used as if it had the cell's size ---- */

/* Among blocks of eight bytes, which are in the same class where there is no smaller one. */
static void set_up_empty(void) {
  for (size_t i = 0; i < CROWD_MAX; i++) {
    block[i] = cell.entry->allocate(sizeof(uint64_t));
    *(uint64_t*)block[i] = SECRET;
  }
  for (size_t i = 0; i < CROWD_MAX; i += 2) {
    cell.entry->release(block[i], sizeof(uint64_t));
    block[i] = cell.entry->allocate(0);
  }
  victim = block[CROWD_MAX / 2];
  others_run();
}

static void read_empty(void) {
  const volatile uint64_t* last = (uint64_t*)(victim + cell.size - 16);
  const volatile uint64_t* first = (uint64_t*)victim;
  if (first[0] == SECRET || first[1] == SECRET || last[0] == SECRET || last[1] == SECRET)
    reached("a block of no bytes shows a secret");
}

static void zero_read(void) {
  set_up_empty();
  act(read_empty);
}

static void write_empty(void) {
  volatile uint64_t* first = (uint64_t*)victim;
  volatile uint64_t* last = (uint64_t*)(victim + cell.size - 16);
  first[0] = first[1] = last[0] = last[1] = STALE;
}

static void zero_write(void) {
  set_up_empty();
  act(write_empty);
  for (size_t i = 1; i < CROWD_MAX; i += 2) {
    if (*(uint64_t*)block[i] != SECRET) reached("a neighbour has changed");
    cell.entry->release(block[i], sizeof(uint64_t));
  }
  cell.entry->release(victim, 0);
}
static const char* never_empty(void) {
  return strcmp(cell.entry->name, "rust") == 0 ? "Rust asks its allocator for no empty block"
                                               : NULL;
}

/* ---- links ---- */

static bool links_mangled;

/* Words that look like links to the target, as an attacker who knows the addresses writes them:
 * plain, or combined with their own address as in the C library. */
static void write_links(void) {
  for (size_t n = 0; n + sizeof(uintptr_t) <= smaller(cell.size, 64); n += sizeof(uintptr_t)) {
    uintptr_t link = (uintptr_t)wrong;
    if (links_mangled) link ^= (uintptr_t)(victim + n) >> 12;
    *(volatile uintptr_t*)(victim + n) = link;
  }
}

static void poison(bool mangled) {
  links_mangled = mangled;
  set_up_blocks();
  wrong = static_area + AREA_HEAD;
  live_add(wrong, smaller(cell.size, AREA_SIZE - AREA_HEAD));
  /* A list of one block would be empty when its link is followed. */
  for (size_t i = 1; i < crowd() && i < 6; i += 2)
    if (block[i] != victim) release_block(block[i]);
  release_victim();
  others_run();
  act(write_links);
  hunt();
  hunt_release(); /* only releases take blocks out of a quarantine */
  hunt_for_victim(note_handed_out);
}
static void poison_plain(void) { poison(false); }
static void poison_mangled(void) { poison(true); }

/* ---- addresses of another run ---- */

enum { ADDRESSES_MAX = 16 };
static uintptr_t address[ADDRESSES_MAX];

static size_t address_count(void) { return smaller(crowd(), ADDRESSES_MAX); }

static void allocate_addresses(void) {
  for (size_t i = 0; i < address_count(); i++)
    address[i] = (uintptr_t)cell.entry->allocate(cell.size);
}

/* Runs this very cell as a process of its own, which finds the variable set and tells. */
#define TELL "ATTACK_TELL"
static bool without_randomisation;
static void addresses_of_a_run(uintptr_t* to) {
  int ends[2];
  if (pipe(ends) != 0) broken("no pipe");
  pid_t pid = fork();
  if (pid == 0) {
    char sizes[2][24];
    snprintf(sizes[0], sizeof sizes[0], "%zu", cell.size);
    snprintf(sizes[1], sizeof sizes[1], "%zu", cell.moment);
    dup2(ends[1], STDOUT_FILENO);
    setenv(TELL, "1", 1);
    if (without_randomisation) personality(ADDR_NO_RANDOMIZE);
    execl("/proc/self/exe", "attack", cell.kind, sizes[0], cell.other ? "other" : "same", sizes[1],
          cell.entry->name, (char*)NULL);
    _exit(1);
  }
  close(ends[1]);
  size_t wanted = address_count() * sizeof(*to), got = 0;
  while (got < wanted) {
    ssize_t n = read(ends[0], (char*)to + got, wanted - got);
    if (n <= 0) broken("no addresses");
    got += (size_t)n;
  }
  close(ends[0]);
  waitpid(pid, NULL, 0);
}

static void two_runs(uintptr_t a[ADDRESSES_MAX], uintptr_t b[ADDRESSES_MAX]) {
  if (getenv(TELL) != NULL) {
    others_run();
    act(allocate_addresses);
    (void)!write(STDOUT_FILENO, address, address_count() * sizeof(*address));
    _exit(0);
  }
  addresses_of_a_run(a);
  addresses_of_a_run(b);
}

static void same_addresses(void) {
  uintptr_t a[ADDRESSES_MAX], b[ADDRESSES_MAX];
  two_runs(a, b);
  for (size_t i = 0; i < address_count(); i++)
    if (a[i] == b[i]) reached("two runs have a block at the same address");
}

static void predict_absolute(void) { same_addresses(); }

/* The allocator's own randomness, when the system does not randomise addresses. */
static void predict_unrandomised(void) {
  without_randomisation = true;
  same_addresses();
}
static const char* no_personality(void) {
  unsigned long now = (unsigned long)personality(0xffffffff);
  bool can = personality(now | ADDR_NO_RANDOMIZE) != -1;
  personality(now);
  return can ? NULL : "the system does not let a process switch its randomisation off";
}

static void predict_relative(void) {
  uintptr_t a[ADDRESSES_MAX], b[ADDRESSES_MAX];
  two_runs(a, b);
  for (size_t i = 1; i < address_count(); i++)
    if (a[i] - a[0] != b[i] - b[0]) return;
  reached("two runs have their blocks at the same distances");
}

/* ---- the table ---- */

#define KIND(name, function)                                                                       \
  { name, function, NULL }
const kind_t kinds[] = {
    KIND("overflow-1-store", overflow_1_store),
    KIND("overflow-8-store", overflow_8_store),
    KIND("overflow-32-store", overflow_32_store),
    KIND("overflow-1m-store", overflow_1m_store),
    KIND("overflow-1-copy", overflow_1_copy),
    KIND("overflow-8-copy", overflow_8_copy),
    KIND("overflow-32-copy", overflow_32_copy),
    KIND("overflow-1m-copy", overflow_1m_copy),
    KIND("underflow-1-store", underflow_1_store),
    KIND("underflow-8-store", underflow_8_store),
    KIND("underflow-32-store", underflow_32_store),
    KIND("underflow-1m-store", underflow_1m_store),
    KIND("underflow-1-copy", underflow_1_copy),
    KIND("underflow-8-copy", underflow_8_copy),
    KIND("underflow-32-copy", underflow_32_copy),
    KIND("underflow-1m-copy", underflow_1m_copy),
    KIND("uaf-write-first", uaf_write_first),
    KIND("uaf-write-last", uaf_write_last),
    {"uaf-write-purged", uaf_write_purged, no_collect},
    KIND("uaf-write-reused", uaf_write_reused),
    KIND("uaf-read", uaf_read),
    KIND("uaf-read-reused", uaf_read_reused),
    {"tail-read", tail_read, no_resize},
    KIND("uninitialised-read", uninitialised_read),
    KIND("double-free", double_free),
    KIND("double-free-reused", double_free_reused),
    {"double-free-race", double_free_race, one_thread},
    {"realloc-freed", realloc_freed, no_resize},
    KIND("free-interior", free_interior),
    KIND("free-misaligned", free_misaligned),
    KIND("free-end", free_end),
    KIND("free-foreign", free_foreign),
    KIND("free-stack", free_stack),
    KIND("free-static", free_static),
    {"free-purged", free_purged, no_collect},
    {"sized-free-less", sized_free_less, no_release_as},
    {"sized-free-more", sized_free_more, no_release_as},
    {"sized-free-half", sized_free_half, no_release_as},
    {"sized-free-double", sized_free_double, no_release_as},
    KIND("mismatched-other", mismatched_other),
    KIND("mismatched-array", mismatched_array),
    {"mismatched-scalar", mismatched_scalar, no_release_scalar},
    KIND("mismatched-aligned", mismatched_aligned),
    {"zero-read", zero_read, never_empty},
    {"zero-write", zero_write, never_empty},
    KIND("poison-plain", poison_plain),
    KIND("poison-mangled", poison_mangled),
    KIND("predict-absolute", predict_absolute),
    {"predict-unrandomised", predict_unrandomised, no_personality},
    KIND("predict-relative", predict_relative),
};
const size_t kind_count = sizeof(kinds) / sizeof(kinds[0]);
