/* interleave.c - the places where threads of the library meet, each as a scenario of two or three.
 *
 * Why: tests with real threads meet rare orders by chance; here every order is tried, and a fault
 * is shown with the order that leads to it. The code is the library's own, see world.h; engine.c
 * says how orders are tried, docs/testing.md what is covered.
 *
 *   interleave [--bound N] [--all N] [--deep N] [--stale N] [--naive] [NAME...]
 *     --bound   with up to N preemptions (2 if not given)
 *     --all     where that left orders out, all that do not commute, but at most N executions
 *     --deep    where that is not complete either, up to N preemptions
 *     --stale   loads of old values, at most N in an execution, in a search of its own
 *     --weaken  an access has a weaker memory order than in the source, see ci/checks/orders
 *     --naive   the search for all without partial order reduction: finds as many, and takes longer
 *   interleave --planted [NAME...]     faults of our own making, which the engine must find
 *   interleave --list
 */
#include "world.h"

/* Blocks of which eight fill a page of one slice: one free block makes it worth claiming. */
#define EIGHTH ((size_t)8 * KiB)
#define PAGE_BLOCKS 8
/* Blocks of which there are 64 in a page, and eight must be free to make it worth claiming. */
#define SMALL ((size_t)1 * KiB)

static char* block[16]; /* what the set-up hands to the threads */
static heap_t* heap;
static run_t run[4];

/* An abandoned page of `block`: all but the first `out` blocks are free. */
static void abandoned_page(int thread, size_t out) {
  as(thread);
  for (size_t i = 0; i < PAGE_BLOCKS; i++) block[i] = take(EIGHTH);
  for (size_t i = out; i < PAGE_BLOCKS; i++) give(block[i]);
  mi_thread_done();
  as(DRIVER);
}

static void give_0(void) { give(block[0]); }
static void give_1(void) { give(block[1]); }
static void give_2(void) { give(block[2]); }
static void give_0_and_1(void) { give(block[0]), give(block[1]); }
static void give_0_and_take(void) {
  give(block[0]);
  (void)take(EIGHTH);
}
static void take_eighth(void) { (void)take(EIGHTH); }
static void end_thread(void) { mi_thread_done(); }

/* ---- the remote word ---- */

/* Remote frees while the owner takes the list. */
static void remote_take_setup(void) {
  world_begin(16, -1);
  as(0);
  for (size_t i = 0; i < 3; i++) block[i] = take(EIGHTH);
  as(DRIVER);
}
static void remote_take_0(void) {
  char* p = take(EIGHTH);
  (void)take(EIGHTH);
  give(p);
}

/* Remote frees while the owner abandons the full page. */
static void try_abandon_setup(void) {
  world_begin(16, -1);
  as(0);
  for (size_t i = 0; i < PAGE_BLOCKS; i++) block[i] = take(EIGHTH);
  heap_default->keep.credit = 0; /* full pages are abandoned at once */
  as(DRIVER);
}

/* The same with a page of two live blocks, which its ending thread abandons; the thread that frees
 * the last block uses the slice again. */
static void try_abandon_last_setup(void) {
  world_begin(16, -1);
  as(0);
  for (size_t i = 0; i < PAGE_BLOCKS; i++) block[i] = take(EIGHTH);
  for (size_t i = 3; i < PAGE_BLOCKS; i++) give(block[i]);
  as(1);
  mi_thread_init();
  as(DRIVER);
}
static void try_abandon_last_0(void) {
  give(block[2]);
  mi_thread_done();
}

/* The last frees of an abandoned page, while a thread wants to claim it. */
static void last_free_setup(void) {
  world_begin(16, -1);
  abandoned_page(DRIVER, 2);
  mi_thread_init();
  as(0);
  mi_thread_init();
  as(DRIVER);
}

/* A full abandoned page becomes worth claiming while two threads want one. */
static void claim_setup(void) {
  world_begin(16, -1);
  abandoned_page(DRIVER, PAGE_BLOCKS);
  mi_thread_init();
  for (int t = 0; t < 2; t++) {
    as(t);
    mi_thread_init();
  }
  as(DRIVER);
}

/* The previous owner reclaims its page with a free, if no other thread is faster. */
static void reclaim_setup(void) {
  try_abandon_setup();
  as(0);
  block[9] = take(EIGHTH); /* from here on the page of the other blocks is abandoned */
  heap_default->keep.credit = MiB;
  as(2);
  mi_thread_init();
  as(DRIVER);
}
/* A block size of which several must be free: the free that makes the page worth claiming publishes
 * it. */
static void publish_setup(void) {
  char* all[64];
  world_begin(16, -1);
  as(0);
  for (size_t i = 0; i < 64; i++) all[i] = take(SMALL);
  for (size_t i = 0; i < 7; i++) give(all[i]);
  mi_thread_done();
  for (size_t i = 0; i < 3; i++) block[i] = all[10 + i];
  mi_thread_init();
  as(DRIVER);
}
static void publish_0(void) {
  (void)take(SMALL);
  give(take(SMALL));
}

/* The same with one thread that frees all the other blocks, so that the page is released before it
 * is published. */
static void publish_all_2(void) {
  for (size_t i = 1; i < PAGE_BLOCKS; i++) give(block[i]);
  (void)take(EIGHTH / 2);
}

/* Two pages become worth claiming while a thread looks for one. */
static void publish_two_setup(void) {
  char* first;
  world_begin(16, -1);
  abandoned_page(DRIVER, PAGE_BLOCKS);
  first = block[0];
  mi_thread_init();
  abandoned_page(DRIVER, PAGE_BLOCKS);
  block[1] = first;
  mi_thread_init();
  as(2);
  mi_thread_init();
  as(DRIVER);
}
static void take_twice(void) {
  (void)take(EIGHTH);
  (void)take(EIGHTH);
}

/* A late claim, when the slice is already an abandoned page of another class. */
static void another_life_setup(void) {
  world_begin(16, -1);
  abandoned_page(DRIVER, 1);
  mi_thread_init();
  for (int t = 0; t < 3; t++) {
    as(t);
    mi_thread_init();
  }
  as(DRIVER);
}
static void another_life_1(void) {
  give(block[0]);
  char* p = take(EIGHTH / 2);
  mi_thread_done();
  give(p);
}

/* ---- the end of threads and heaps ---- */

static void abandon_setup(void) {
  world_begin(16, 10);
  as(0);
  for (size_t i = 0; i < 3; i++) block[i] = take(EIGHTH);
  give(take(EIGHTH / 2)); /* an empty active page */
  as(DRIVER);
}

/* A thread looks for a page while an ending thread abandons one with free blocks. */
static void abandon_claim_setup(void) {
  abandon_setup();
  as(1);
  mi_thread_init();
  as(DRIVER);
}

/* The same while the summary tells of another page, which has one free block. */
static void abandon_two_setup(void) {
  world_begin(32, -1);
  as(0);
  for (size_t i = 0; i < 3; i++) (void)take(EIGHTH);
  as(DRIVER);
  abandoned_page(DRIVER, PAGE_BLOCKS - 1);
  mi_thread_init();
  for (int t = 1; t < 3; t++) {
    as(t);
    mi_thread_init();
  }
  as(DRIVER);
}

/* A thread ends while another begins, which may get its heap struct. */
static void heap_struct_setup(void) {
  world_begin(16, -1);
  as(0);
  for (size_t i = 0; i < 2; i++) block[i] = take(EIGHTH);
  as(DRIVER);
}
static void heap_struct_1(void) {
  char* p = take(EIGHTH);
  give(block[1]);
  give(p);
}

/* A thread with heaps of its own frees a block of another thread that frees there too. */
static void own_setup(void) {
  world_begin(16, -1);
  as(1);
  heap = mi_heap_new();
  as(0);
  for (size_t i = 0; i < 3; i++) block[i] = take(EIGHTH);
  as(DRIVER);
}

static void heap_setup(size_t blocks) {
  world_begin(32, -1);
  as(0);
  heap = mi_heap_new();
  for (size_t i = 0; i < blocks; i++) block[i] = take_from(heap, EIGHTH);
  as(DRIVER);
}
static void heap_delete_setup(void) { heap_setup(3); }
static void heap_delete_full_setup(void) { heap_setup(PAGE_BLOCKS + 1); }
static void heap_delete_0(void) {
  mi_heap_delete(heap);
  (void)take(EIGHTH);
}
static void heap_full_0(void) {
  for (size_t i = 0; i < PAGE_BLOCKS; i++) (void)take_from(heap, EIGHTH);
  mi_heap_delete(heap);
}

/* Threads that have ended allocate from one heap. */
static void fallback_setup(void) {
  world_begin(16, -1);
  for (int t = 0; t < 2; t++) {
    as(t);
    mi_thread_init();
    mi_thread_done();
    heap_default = &heap_ended;
  }
  block[0] = take(EIGHTH);
  as(DRIVER);
}

/* ---- slices ---- */

/* There is room, also for a thread that sees old values. */
static void no_room(size_t count) { engine_violation("no room for %zu slices", count); }

static void slices_setup(void) { world_begin(8, -1); }
static void slices_0(void) {
  run_t r = take_run(4, 4, FOR_BLOCK);
  if (r.slice != 0) give_run(r, 4);
}
static void slices_1(void) {
  run_t r = take_run(2, 1, FOR_BLOCK);
  if (r.slice != 0) give_run(r, 2);
}
static void slices_2(void) {
  for (int i = 0; i < 2; i++)
    if (take_run(1, 1, FOR_PAGE).slice == 0) no_room(1);
}

/* A thread that asks for free slices gets them, even while another thread looks for slices. */
static void slices_fit_setup(void) {
  world_begin(8, -1);
  run[0] = take_run(4, 1, FOR_BLOCK);
}
static void slices_fit_0(void) {
  give_run(run[0], 4);
  if (take_run(4, 1, FOR_BLOCK).slice == 0) no_room(4);
}
static void slices_fit_1(void) {
  run_t r = take_run(4, 1, FOR_BLOCK);
  if (r.slice == 0) no_room(4);
  if (r.slice != 0) give_run(r, 4);
}

/* Runs that lie in two words of the bitmap: of two claims for the same run only one succeeds, and
 * the failed one leaves the bits as they were. */
#define BITS 132
static bitword_t bits[3];
static int bit_owner[BITS]; /* thread + 1 */
static void bits_setup(void) {
  world_begin(16, -1);
  bitmap_set(bits, 0, BITS);
}
static void bits_use(size_t i, size_t n) {
  if (i == BITMAP_NONE) return;
  for (size_t k = i; k < i + n; k++) {
    if (bit_owner[k] != 0) engine_violation("bit %zu is claimed twice", k);
    bit_owner[k] = engine_thread() + 1;
  }
  for (size_t k = i; k < i + n; k++) bit_owner[k] = 0;
  bitmap_set(bits, i, n);
}
static void bits_0(void) { bits_use(bitmap_claim(bits, bits, BITS, 60, 70, 1, 0), 70); }
static void bits_1(void) {
  if (bitmap_claim_at(bits, 62, 4)) bits_use(62, 4);
  if (bitmap_claim_at(bits, 128, 1)) bits_use(128, 1);
}
static void bits_2(void) { bits_use(bitmap_claim(bits, bits, BITS, 126, 3, 2, 0), 3); }
static void bits_finish(void) {
  if (!bitmap_all(bits, 0, BITS)) engine_violation("bits are lost");
  world_end();
}

/* A run is extended while others claim and free the slices after it. */
static void extend_setup(void) {
  world_begin(8, -1);
  run[0] = take_run(2, 1, FOR_BLOCK);
  run[1] = take_run(2, 1, FOR_BLOCK);
}
static void extend_0(void) {
  bool zero;
  if (!arena_extend(run[0].arena, run[0].slice + 2, 2, &zero)) return;
  hold(runs, slice_address(run[0].slice + 2), 2 * SLICE_SIZE);
  mark(slice_address(run[0].slice + 2), SLICE_SIZE);
  mark(slice_address(run[0].slice + 3), SLICE_SIZE);
}
static void extend_1(void) { give_run(run[1], 2); }
static void extend_2(void) { (void)take_run(1, 1, FOR_PAGE); }

/* A thread that finds no room reserves an arena; two threads reserve only one. */
static void reserve_setup(void) {
  world_begin(0, -1);
  mi_option_set(mi_option_arena_reserve, (long)(MiB / KiB));
}
static void reserve_finish(void) {
  if (arena_count() != 1) engine_violation("%zu arenas, and one has room", arena_count());
  world_end();
}

/* A frontier goes back while other threads need what it closes, and more. */
static void frontier_setup(void) {
  world_begin(0, 10);
  os_info.holes_are_mappings = true;
  mi_option_set(mi_option_arena_eager_commit, 0);
  mi_option_set(mi_option_arena_reserve, (long)(3 * MiB / KiB));
  run[0] = take_run(STEP_MIN, 1, FOR_BLOCK);
  run[1] = take_run(1, 1, FOR_BLOCK);
  give_run(run[0], STEP_MIN);
}
static void frontier_0(void) {
  give_run(run[1], 1);
  arena_purge_due(true);
}
static void frontier_1(void) {
  if (take_run(2, 1, FOR_BLOCK).slice == 0) no_room(2);
}
static void frontier_2(void) {
  run_t r = take_run(STEP_MIN + 4, 1, FOR_PAGE);
  if (r.slice == 0) no_room(STEP_MIN + 4);
}
static void frontier_finish(void) {
  arena_t* a = arena_at(0);
  if (arena_at(1) != NULL) engine_violation("a second arena, and the first has room");
  for (size_t i = 0; i < a->slices; i++) {
    bool closed = arena_closed_end(a, i) > i;
    if (closed !=
        os.shut[(size_t)(slice_address(a->first_slice + (uint32_t)i) - os.pool) / SLICE_SIZE])
      engine_violation("slice %zu is %sclosed", i, closed ? "" : "not ");
    if (closed && bitmap_any(a->free, i, 1)) engine_violation("slice %zu is free and closed", i);
  }
  world_end();
}

/* ---- purging ---- */

/* One thread purges all free slices while another thread needs some: it waits, and gets them.
 */
static void purge_setup(void) {
  world_begin(4, 10);
  run[0] = take_run(3, 1, FOR_BLOCK);
  run[1] = take_run(1, 1, FOR_BLOCK);
  give_run(run[0], 3);
}
static void purge_force(void) { arena_purge_due(true); }
static void purge_take(void) {
  if (take_run(2, 1, FOR_BLOCK).slice == 0) no_room(2);
}
static void purge_give(void) { give_run(run[1], 1); }

/* Slices are freed while those freed before are due: none waits without a time. */
static void purge_due_setup(void) {
  purge_setup();
  pass_ms(200);
}
static void purge_due(void) { arena_purge_due(false); }
static void purge_due_twice(void) {
  arena_purge_due(false);
  pass_ms(200);
  arena_purge_due(false);
}

/* A slice is freed and used again while it may be purged. */
static void purge_reuse_setup(void) {
  world_begin(1, 10);
  run[0] = take_run(1, 1, FOR_BLOCK);
}
static void purge_reuse_0(void) { give_run(run[0], 1); }
static void purge_reuse_1(void) { (void)take_run(1, 1, FOR_BLOCK); }

/* The first limit is set while others claim and purge slices: then exactly the slices that may be
 * resident are counted. */
static void usage_begin(void) { mi_option_set(mi_option_limit_hard, KIB_MAX); }
static void usage_finish(void) {
  arena_t* a;
  size_t counted = 0;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    for (size_t s = 0; s < a->slices; s++) {
      counted += bitmap_any(a->counted, s, 1);
      if (bitmap_any(a->counted, s, 1) != bitmap_any(a->dirty, s, 1))
        engine_violation("slice %zu is counted, or dirty, and not both", s);
    }
  if (usage_count() != counted * SLICE_SIZE + usage.metadata)
    engine_violation("%zu slices are counted, and the count is another", counted);
  world_end();
}
static void usage_at_once_setup(void) {
  world_begin(4, 0);
  run[0] = take_run(1, 1, FOR_BLOCK);
  run[1] = take_run(1, 1, FOR_BLOCK);
}

/* One thread holds slices in a claim that it will undo; another thread needs them. */
static void slices_undone_setup(void) {
  world_begin(72, -1);
  for (size_t i = 0; i < 3; i++) run[i] = take_run(i == 0 ? 60 : i == 1 ? 4 : 8, 1, FOR_BLOCK);
  give_run(run[1], 4);
}
static void slices_undone_0(void) {
  if (take_run(4, 1, FOR_BLOCK).slice == 0) no_room(4);
}
static void extend_too_far(void) {
  bool zero;
  (void)arena_extend(run[0].arena, run[0].slice + 60, 5, &zero);
}

/* The purging thread meets slices of a claim that will be undone. */
static void purge_undone_setup(void) {
  world_begin(72, 10);
  for (size_t i = 0; i < 3; i++) run[i] = take_run(i == 0 ? 60 : i == 1 ? 4 : 8, 1, FOR_BLOCK);
  give_run(run[1], 4);
  pass_ms(200);
}

/* Advice for huge pages while the region is purged. */
#define THP_USED 300
static void thp_setup(void) {
  world_begin(64 * MiB / SLICE_SIZE, 10);
  /* So many that small pages get advice, and all of the first region. */
  run[0] = arena_alloc(AFFINITY_ANY, THP_USED, THP_SLICES, FOR_LARGE);
  run[1] = arena_alloc(AFFINITY_ANY, THP_SLICES, 1, FOR_PAGE);
}
static void thp_take(void) { (void)take_run(1, 1, FOR_PAGE); }
static void thp_take_and_give(void) { give_run(take_run(1, 1, FOR_PAGE), 1); }
static void thp_finish(void) {
  arena_free(run[0].arena, run[0].slice, THP_USED);
  arena_free(run[1].arena, run[1].slice, THP_SLICES);
  world_end();
}

/* ---- holes ---- */

/* A block; no tick comes with it. */
static char* take_without_tick(size_t size) {
  heap_default->heartbeat = 1;
  return take(size);
}

#define SMALL_BLOCKS 64 /* in a page */
/* A page of thread 0 with a few blocks in use, which thread 0 has given up for that. */
static void sparse_page(size_t out) {
  char* all[SMALL_BLOCKS];
  world_begin(16, 10);
  as(0);
  for (size_t i = 0; i < SMALL_BLOCKS; i++) all[i] = take_without_tick(SMALL);
  block[9] = take_without_tick(SMALL); /* the page of the others is not current any more */
  for (size_t i = 0; i < SMALL_BLOCKS; i++) {
    if (i % 30 != 0 || i / 30 >= out) give(all[i]);
    if (i % 30 == 0) block[i / 30] = all[i];
  }
  as(1);
  mi_thread_init();
  as(2);
  mi_thread_init();
  as(DRIVER);
}
static void holes_setup(void) { sparse_page(3); }
static void holes_last_setup(void) { sparse_page(2); }
static void make_holes_now(void) {
  size_t bytes = 8 * MiB;
  (void)holes_purge(&bytes);
}
static void make_holes_twice(void) {
  make_holes_now();
  make_holes_now();
}
static void take_small(void) { (void)take(SMALL); }
/* Its own page is full, so it claims the sparse one, and fills a hole or two. */
static void holes_filled_setup(void) {
  sparse_page(3);
  make_holes_now();
  as(0);
  give(block[1]);
  as(DRIVER);
}
#define OTHER ((size_t)1280)
#define OTHER_BLOCKS 51
/* Two pages with holes; a free in each may allow more. */
static void holes_two_setup(void) {
  sparse_page(3);
  as(0);
  char* all[OTHER_BLOCKS];
  for (size_t i = 0; i < OTHER_BLOCKS; i++) all[i] = take_without_tick(OTHER);
  block[10] = take_without_tick(OTHER);
  for (size_t i = 0; i < OTHER_BLOCKS; i++)
    if (i % 20 != 0) give(all[i]);
  block[3] = all[0];
  make_holes_now();
  as(DRIVER);
}
static void give_3(void) { give(block[3]); }
static void take_many(void) {
  for (size_t i = 0; i < 7; i++) (void)take(SMALL);
}
static void give_0_and_take_small(void) {
  give(block[0]);
  (void)take(SMALL);
}
/* The thread ends with a page that is sparse, and with one that has holes and is current. */
static void holes_end_setup(void) {
  sparse_page(3);
  make_holes_now();
  as(1);
  block[10] = take(SMALL);
  as(DRIVER);
}
static void holes_heap_setup(void) {
  char* all[SMALL_BLOCKS];
  world_begin(32, 10);
  as(0);
  heap = mi_heap_new();
  for (size_t i = 0; i < SMALL_BLOCKS; i++) all[i] = take_from(heap, SMALL);
  for (size_t i = 0; i < SMALL_BLOCKS; i++) {
    if (i % 30 != 0) give(all[i]);
    if (i % 30 == 0) block[i / 30] = all[i];
  }
  heap_backing(heap)->keep.credit = 0; /* it wants none of the pages of the heap */
  as(1);
  mi_thread_init();
  as(DRIVER);
}
static void holes_delete_0(void) { mi_heap_delete(heap); }
static void holes_destroy_0(void) {
  for (size_t i = 0; i < 3; i++) unhold(live, block[i]);
  mi_heap_destroy(heap);
}
/* ---- large blocks ---- */

#define LARGE_SIZE (3 * SLICE_SIZE)
static void large_setup(void) {
  world_begin(16, -1);
  as(0);
  mi_thread_init();
  as(2);
  heap = mi_heap_new();
  block[0] = take_from(heap, LARGE_SIZE);
  as(DRIVER);
}
/* The fields of the descriptor may be another page's right after. */
static void large_free_0(void) {
  give(block[0]);
  (void)take(EIGHTH);
}
/* The same slices become another block, of another heap and size, or a small page in between. */
#define LARGE_AGAIN (2 * SLICE_SIZE)
static void large_again_0(void) {
  give(block[0]);
  void* small = take(EIGHTH);
  give(small);
  mi_collect(true);
  (void)take(LARGE_AGAIN);
}
static void large_again_1(void) {
  give(block[0]);
  (void)take(LARGE_AGAIN);
}
static void large_shrink(void) {
  page_t* page = map_page_checked(block[0]);
  check_mark(block[0], LARGE_SIZE);
  if (!large_resize(page, SLICE_SIZE)) engine_violation("a block cannot become smaller");
  unhold(live, block[0]);
  hold(live, block[0], SLICE_SIZE);
  mark(block[0], SLICE_SIZE);
}
static void large_resize_0(void) {
  large_shrink();
  give(block[0]);
}
static void large_view_1(void) {
  large_view_t view;
  if (!large_view((uint32_t)((uintptr_t)block[0] >> SLICE_SHIFT), &view)) return;
  if (view.start != block[0] || view.usable > view.reserved)
    engine_violation("a view shows %zu of %zu bytes", view.usable, view.reserved);
  bool is_first = view.usable == LARGE_SIZE || view.usable == SLICE_SIZE;
  if (view.heap == (uintptr_t)heap ? !is_first : !is_first && view.usable != LARGE_AGAIN)
    engine_violation("a view shows %zu bytes, which is another block's size", view.usable);
}
/* No other thread changes the heap of the block, so its heap tells which size it has. */
static void large_view_pair(void) {
  large_view_t view;
  if (!large_view((uint32_t)((uintptr_t)block[0] >> SLICE_SHIFT), &view)) return;
  if (view.usable != (view.heap == (uintptr_t)heap ? LARGE_SIZE : LARGE_AGAIN))
    engine_violation("a view shows the size of another block");
}
static void large_delete_2(void) { mi_heap_delete(heap); }
static void large_destroy_2(void) {
  unhold(live, block[0]);
  mi_heap_destroy(heap);
}

/* ---- runs that heaps keep ---- */

#define TWO_SLICES ((size_t)100 * KiB)
static void give_and_take_0(void) {
  give(block[0]);
  block[0] = take(TWO_SLICES);
}
/* Two heaps keep a run each; a purge, or an allocation that needs the memory, wants both. */
static void kept_setup(void) {
  world_begin(6, 10);
  give_run(take_run(1, 1, FOR_BLOCK), 1); /* a time is set already */
  for (int t = 0; t < 2; t++) {
    as(t);
    mi_thread_init();
    heap_default->runs.most = RUN_MAX;
    block[t] = take(TWO_SLICES);
  }
  as(DRIVER);
}
/* The bit of the run is set already. */
static void kept_before_setup(void) {
  kept_setup();
  as(0);
  give_and_take_0();
  as(DRIVER);
}
/* Kept runs are room for others, also while they go back. */
static void kept_needed_setup(void) {
  kept_setup();
  for (int t = 0; t < 2; t++) {
    as(t);
    give(block[t]);
  }
  as(DRIVER);
}
static void take_all_runs(void) {
  for (int i = 0; i < 6; i++)
    if (take_run(1, 1, FOR_BLOCK).slice == 0) no_room(1);
}

/* ---- callbacks, the first call ---- */

static callback_t callback;
static void callback_setup(void) {
  world_begin(16, -1);
  callback_set(&callback, 1, (void*)1);
}
static void callback_check(void) {
  void* argument;
  uintptr_t f = callback_get(&callback, &argument);
  if (f != (uintptr_t)argument) engine_violation("function %zu with argument %p", f, argument);
}
static void callback_write(uintptr_t n) {
  os_lock(&log_lock);
  callback_set(&callback, n, (void*)n);
  os_unlock(&log_lock);
}
static void callback_write_2(void) {
  callback_write(2);
  callback_write(4);
}
static void callback_write_3(void) {
  callback_write(3);
  callback_write(5);
}
static void callback_finish(void) {
  callback_check();
  world_end();
}

static void first_setup(void) {
  world_memory();
  /* As a default of the build: an option that is set would start the process. */
  store_relaxed(&option_table[mi_option_arena_reserve].value, (long)(MiB / KiB));
}
/* Another thread asks for the first heap while it is made. */
static void main_setup(void) {
  world_memory();
  mi_option_set(mi_option_arena_reserve, (long)(MiB / KiB));
}
static void main_1(void) {
  heap_t* first = registry_main();
  if (first != NULL && first->is_first_class) engine_violation("the first heap is first-class");
}
static void first_take(void) { (void)take(EIGHTH); }
static void first_finish(void) {
  as(DRIVER);
  mi_thread_init();
  world_end();
}

/* ---- all of them ---- */

/* A name, set-up, end, threads. */
#define SCENARIO(name, setup, finish, ...)                                                         \
  { #name, setup, {__VA_ARGS__ }, finish, NULL }

static const scenario_t scenarios[] = {
    SCENARIO(remote_take, remote_take_setup, world_end, remote_take_0, give_1, give_2),
    SCENARIO(try_abandon, try_abandon_setup, world_end, take_eighth, give_0, give_1),
    SCENARIO(try_abandon_last, try_abandon_last_setup, world_end, try_abandon_last_0,
             give_0_and_take, give_1),
    SCENARIO(last_free, last_free_setup, world_end, take_eighth, give_0, give_1),
    SCENARIO(claim, claim_setup, world_end, take_eighth, take_eighth, give_0_and_1),
    SCENARIO(reclaim, reclaim_setup, world_end, give_0_and_take, give_1, take_eighth),
    SCENARIO(publish, publish_setup, world_end, publish_0, give_0, give_1),
    SCENARIO(publish_all, claim_setup, world_end, take_eighth, give_0, publish_all_2),
    SCENARIO(publish_two, publish_two_setup, world_end, give_0, give_1, take_twice),
    SCENARIO(another_life, another_life_setup, world_end, take_eighth, another_life_1, take_eighth),
    SCENARIO(abandon, abandon_setup, world_end, end_thread, give_0_and_1, give_2),
    SCENARIO(abandon_claim, abandon_claim_setup, world_end, end_thread, take_eighth, give_0),
    SCENARIO(abandon_two, abandon_two_setup, world_end, end_thread, take_twice),
    SCENARIO(abandon_three, abandon_two_setup, world_end, end_thread, take_eighth, take_eighth),
    SCENARIO(heap_struct, heap_struct_setup, world_end, end_thread, heap_struct_1, give_0),
    SCENARIO(own, own_setup, world_end, give_0, give_1, give_2),
    SCENARIO(heap_delete, heap_delete_setup, world_end, heap_delete_0, give_0, give_1),
    SCENARIO(heap_delete_full, heap_delete_full_setup, world_end, heap_full_0, give_0, give_1),
    SCENARIO(fallback, fallback_setup, world_end, take_eighth, take_eighth, give_0),
    SCENARIO(slices, slices_setup, world_end, slices_0, slices_1, slices_2),
    SCENARIO(slices_fit, slices_fit_setup, world_end, slices_fit_0, slices_fit_1),
    SCENARIO(slices_undone, slices_undone_setup, world_end, slices_undone_0, extend_too_far),
    SCENARIO(bits, bits_setup, bits_finish, bits_0, bits_1, bits_2),
    SCENARIO(extend, extend_setup, world_end, extend_0, extend_1, extend_2),
    SCENARIO(reserve, reserve_setup, reserve_finish, take_eighth, take_eighth),
    SCENARIO(reserve_purge, reserve_setup, reserve_finish, take_eighth, purge_force),
    SCENARIO(frontier, frontier_setup, frontier_finish, frontier_0, frontier_1, frontier_2),
    SCENARIO(purge, purge_setup, world_end, purge_force, purge_take, purge_give),
    SCENARIO(purge_due, purge_due_setup, world_end, purge_due, purge_give, purge_due_twice),
    SCENARIO(purge_reuse, purge_reuse_setup, world_end, purge_reuse_0, purge_reuse_1, purge_force),
    SCENARIO(purge_undone, purge_undone_setup, world_end, purge_due, extend_too_far),
    SCENARIO(usage_purge, purge_setup, usage_finish, usage_begin, purge_force, purge_take),
    SCENARIO(usage_reuse, purge_reuse_setup, usage_finish, usage_begin, purge_reuse_0,
             purge_reuse_1),
    SCENARIO(usage_at_once, usage_at_once_setup, usage_finish, usage_begin, purge_reuse_0,
             purge_reuse_1),
    SCENARIO(thp, thp_setup, thp_finish, purge_force, thp_take_and_give, thp_take),
    SCENARIO(holes, holes_setup, world_end, make_holes_now, give_0, take_small),
    SCENARIO(holes_last, holes_last_setup, world_end, make_holes_now, give_0, give_1),
    SCENARIO(holes_home, holes_setup, world_end, give_0_and_take_small, give_1, make_holes_now),
    SCENARIO(holes_twice, holes_setup, world_end, make_holes_twice, make_holes_now, give_0),
    SCENARIO(holes_two, holes_two_setup, world_end, give_0, give_3, make_holes_now),
    SCENARIO(holes_filled, holes_filled_setup, world_end, make_holes_now, give_0, take_many),
    SCENARIO(holes_end, holes_end_setup, world_end, give_0, end_thread, make_holes_now),
    SCENARIO(holes_delete, holes_heap_setup, world_end, holes_delete_0, give_0, make_holes_now),
    SCENARIO(holes_destroy, holes_heap_setup, world_end, holes_destroy_0, take_small,
             make_holes_now),
    SCENARIO(large_free, large_setup, world_end, large_free_0, large_view_1, large_delete_2),
    SCENARIO(large_again, large_setup, world_end, large_again_1, large_view_1, large_view_1),
    SCENARIO(large_pair, large_setup, world_end, large_again_1, large_view_pair),
    SCENARIO(large_again_small, large_setup, world_end, large_again_0, large_view_1,
             large_delete_2),
    SCENARIO(large_resize, large_setup, world_end, large_resize_0, large_view_1, large_delete_2),
    SCENARIO(large_abandon, large_setup, world_end, large_shrink, large_view_1, large_delete_2),
    SCENARIO(large_destroy, large_setup, world_end, end_thread, large_view_1, large_destroy_2),
    SCENARIO(kept, kept_setup, world_end, give_and_take_0, give_1, purge_force),
    SCENARIO(kept_before, kept_before_setup, world_end, give_0, give_1, purge_force),
    SCENARIO(kept_needed, kept_needed_setup, world_end, end_thread, purge_force, take_all_runs),
    SCENARIO(callback, callback_setup, callback_finish, callback_check, callback_write_2,
             callback_write_3),
    SCENARIO(first, first_setup, first_finish, first_take, first_take),
    SCENARIO(main_heap, main_setup, first_finish, first_take, main_1),
};

/* ---- what the engine itself must find ---- */

static _Atomic(int) counter, flag;
static int datum;
static os_lock_t lock_a = OS_LOCK_INIT, lock_b = OS_LOCK_INIT;

static void planted_setup(void) { world_begin(4, -1); }
static void count(void) { store_relaxed(&counter, load_relaxed(&counter) + 1); }
static void count_finish(void) {
  if (load_relaxed(&counter) != 2) engine_violation("an update is lost");
}
static void write_datum(void) { datum++; }
static void publish_relaxed(void) {
  datum = 1;
  store_relaxed(&flag, 1);
}
static void read_published(void) {
  if (load_acquire(&flag) == 1 && datum != 1) engine_violation("datum %d", datum);
}
static void lock_a_b(void) {
  os_lock(&lock_a);
  os_lock(&lock_b);
  os_unlock(&lock_b);
  os_unlock(&lock_a);
}
static void lock_b_a(void) {
  os_lock(&lock_b);
  os_lock(&lock_a);
  os_unlock(&lock_a);
  os_unlock(&lock_b);
}
static void wait_for_flag(void) {
  while (load_acquire(&flag) == 0) os_nap(1);
}
static void spin_for_flag(void) {
  while (load_acquire(&flag) == 0) {
  }
}
/* Each thread writes its word and looks at the other's: one of them has to see something. */
static _Atomic(int) wrote[2], saw[2];
static void look_relaxed_0(void) {
  store_relaxed(&wrote[0], 1);
  store_relaxed(&saw[0], load_relaxed(&wrote[1]));
}
static void look_relaxed_1(void) {
  store_relaxed(&wrote[1], 1);
  store_relaxed(&saw[1], load_relaxed(&wrote[0]));
}
static void look_seq_cst_0(void) {
  (void)or_seq_cst(&wrote[0], 1);
  store_relaxed(&saw[0], load_seq_cst(&wrote[1]));
}
static void look_seq_cst_1(void) {
  (void)or_seq_cst(&wrote[1], 1);
  store_relaxed(&saw[1], load_seq_cst(&wrote[0]));
}
static void look_finish(void) {
  if (load_relaxed(&saw[0]) == 0 && load_relaxed(&saw[1]) == 0)
    engine_violation("both have seen nothing");
}
static void lose_slice(void) { (void)arena_alloc(AFFINITY_ANY, 1, 1, FOR_PAGE); }
static void end_twice(void) {
  run_t r = take_run(1, 1, FOR_PAGE);
  give_run(r, 1);
  arena_free(r.arena, r.slice, 1);
}
static void nothing(void) {}

#define PLANTED(name, shows, finish, ...)                                                          \
  { #name, planted_setup, {__VA_ARGS__ }, finish, shows }
static const scenario_t planted[] = {
    PLANTED(lost_update, "an update is lost", count_finish, count, count),
    PLANTED(plain_race, "data race", world_end, write_datum, write_datum),
    PLANTED(order_too_weak, "data race", world_end, publish_relaxed, read_published),
    PLANTED(locks_crossed, "wait for each other for ever", world_end, lock_a_b, lock_b_a),
    PLANTED(wait_without_end, "wait for each other for ever", world_end, wait_for_flag, nothing),
    PLANTED(spin_without_end, "does not end", world_end, spin_for_flag, nothing),
    PLANTED(seen_too_late, "both have seen nothing", look_finish, look_relaxed_0, look_relaxed_1),
    PLANTED(seen_in_order, NULL, look_finish, look_seq_cst_0, look_seq_cst_1), /* as it should be */
    PLANTED(slice_lost, "is lost", world_end, lose_slice, nothing),
    PLANTED(slice_freed_twice, "count as free", world_end, end_twice, nothing),
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--planted") == 0)
    return engine_main(argc - 1, argv + 1, planted, COUNT(planted), 1);
  return engine_main(argc, argv, scenarios, COUNT(scenarios), 0);
}
