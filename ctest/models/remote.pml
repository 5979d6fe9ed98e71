/* remote.pml - the remote word of a page (c_src/src/page.h): abandon, push, claim, take, release.
 *
 * A page has BLOCKS blocks, all of them in use at the start, divided among three threads in every
 * way. The first of them owns the page: it frees its blocks without an exchange, gives the page up,
 * and may win it back with a free; the other two free theirs as strangers. A fourth thread claims the
 * page when it finds it abandoned, and abandons it again. Each look at the word, each exchange, and each
 * use of the plain fields between two of them is a step of its own.
 *
 * Memory is not taken to be sequentially consistent. For each plain field (the links of the blocks;
 * the descriptor's fields as one) the model has the set of threads that know of its last write: who
 * writes is alone in the set, a release puts what the thread knows into the word, an acquire takes
 * over what is there, an exchange keeps what others have put there. To use a field whose last write
 * one need not see is an error. The word itself is one atomic object, whose values all threads see in
 * one order.
 *
 * The steps, marked below with their names in brackets, and the lines of C that they stand for. ci/checks/model
 * compares: each text in quotes is once in its function.
 *
 *   push: load           page_push_remote   "uint64_t word = load_acquire(remote), pushed;"
 *   push: link           page_push_remote   "block_link(page, block, remote_list(word));"
 *   push: count          page_push_remote   "pushed = (word & ~REMOTE_ADDRESS) - REMOTE_ONE;"
 *   push: last           page_push_remote   "if (out == 0)"
 *   push: taken          page_push_remote   "else if (reclaim && out <= enough)"
 *   push: exchange       page_push_remote   "if (cas_weak_acq_rel(remote, &word, next)) break;"
 *   push: merge          page_push_remote   "page_return_list(page, block, page_live(page) - remote_outstanding(pushed));"
 *   claim: look          page_claim         "if (remote_is_owned(word) || word == 0) return false;"
 *   claim: exchange      page_claim         "} while (!cas_weak_acq_rel(remote, &word, REMOTE_OWNED));"
 *   claim: merge         page_claim         "page_return_list(page, remote_list(word), page_live(page) - remote_outstanding(word));"
 *   take: look           page_take_remote   "if (remote_list(load_relaxed(remote)) == NULL) return NULL;"
 *   take: exchange       page_take_remote   "uint64_t word = swap_acq_rel(remote, REMOTE_OWNED);"
 *   abandon: count       page_try_abandon      "uint64_t abandoned = (uint64_t)page_live(page) << 48;"
 *   abandon: exchange    page_try_abandon      "if (cas_acq_rel(map_remote(page->slice), &expected, abandoned)) return true;"
 *   merge                page_return_list   "page_append(page, list, local);"
 *   merge: count         page_return_list   "page_set_used(page, used - count);"
 *   empty: release       abandon_page_as    "if (page_live(page) == 0) {"
 *   reclaim: again       abandon_page_as    "page_reclaim(page);"
 *   release              page_release       "slices_leave(page->arena, page->slice, page_slices(page), 0);"
 *
 * Not in the model: the arena and page_fresh (a released page stays released, which is where the
 * word keeps saying owned), the hint bits of abandoned.c, and the owner word: a thread knows whether
 * it owns the page. Those are in ctest/interleave, where the C code itself runs.
 *
 * Faults that are planted here, to show that the properties would catch them: ctest/mutants/gates/model-*.
 */
#ifndef BLOCKS
#define BLOCKS 3
#endif
#ifndef TURNS
#define TURNS 1 /* times that the first owner gives the page up and that the claimer looks for it */
#endif

#define NONE BLOCKS /* no block: the end of a list */
#define MODULUS (2 * BLOCKS + 1) /* of the outstanding count, in place of 2^16: more than there are pushes */
#define LIST 8 /* holder: the block is in some list of the page */
#define NO_THREAD 8

/* The remote word. */
bool owned = true;
byte head = NONE;
byte outstanding = 0;

/* The plain fields. */
byte link[BLOCKS];
byte mine = NONE; /* first of the list that the owner has freed, `local` in C */
byte used = BLOCKS;

/* Who knows the last write of a plain field: a mask of threads, and whether the word carries it. The
 * fields of the descriptor count as one. */
byte knows_link[BLOCKS];
byte knows_page = 255;
bool word_link[BLOCKS];
bool word_page = true;

/* For the checks only. */
byte holder[BLOCKS]; /* a thread, or LIST */
byte owner = 0;
bool released = false;

#define KNOWS(mask, t) (((mask) >> (t)) & 1)

/* Only the owner may touch the descriptor, and it must see what was written last. */
inline check_page(t) {
  assert(!released);
  assert(owner == t);
  assert(KNOWS(knows_page, t))
}
inline wrote_page(t) {
  knows_page = 1 << t;
  word_page = false
}
inline wrote_link(b, t) {
  knows_link[b] = 1 << t;
  word_link[b] = false
}
/* What the thread knows goes into the word, beside what is there. */
inline release(t) {
  k = 0;
  do
  :: k < BLOCKS ->
       word_link[k] = word_link[k] || KNOWS(knows_link[k], t);
       k++
  :: else -> break
  od;
  word_page = word_page || KNOWS(knows_page, t)
}
inline acquire(t) {
  k = 0;
  do
  :: k < BLOCKS ->
       knows_link[k] = knows_link[k] | (word_link[k] << t);
       k++
  :: else -> break
  od;
  knows_page = knows_page | (word_page << t)
}

inline look() {
  saw_owned = owned;
  saw_head = head;
  saw_outstanding = outstanding
}
/* What a compare-and-swap compares: not the links that follow the address. */
#define UNCHANGED (owned == saw_owned && head == saw_head && outstanding == saw_outstanding)

/* The `count` blocks of `list` go to the owner's: page_return_list. It walks the shorter of the two
 * lists or none; the model checks here that it could follow both, because later owners will. */
inline follow(t, first, length) {
  length = 0;
  k = first;
  do
  :: k != NONE ->
       assert(length < BLOCKS); /* no circle */
       assert(KNOWS(knows_link[k], t));
       assert(holder[k] == LIST);
       last = k;
       length++;
       k = link[k]
  :: else -> break
  od
}
inline merge(t) {
  d_step {
    check_page(t);
    if
    :: list != NONE ->
         follow(t, mine, next);
         assert(next == BLOCKS - used);
         if
         :: mine != NONE && count > BLOCKS - used -> /* behind the owner's */
              link[last] = list;
              wrote_link(last, t);
              follow(t, list, next)
         :: else ->
              follow(t, list, next);
              if
              :: mine != NONE -> link[last] = mine; wrote_link(last, t) /* [merge] */
              :: else
              fi;
              mine = list
         fi;
         assert(next == count && count <= used);
         used = used - count; /* [merge: count] */
         wrote_page(t)
    :: else
    fi;
    list = NONE;
    next = 0;
    count = 0;
    last = 0
  }
}
/* The same with the outstanding count in `count`: what was queued while the page was abandoned. */
inline merge_unowned(t) {
  d_step { check_page(t); count = used - count };
  merge(t)
}

inline release_page(t) {
  d_step {
    check_page(t);
    assert(owned && head == NONE && outstanding == 0);
    k = 0;
    do
    :: k < BLOCKS ->
         assert(holder[k] == LIST);
         k++
    :: else -> break
    od;
    released = true; /* [release] */
    owner = NO_THREAD
  }
}

/* page_take_remote into `list`. */
inline take(t) {
  list = NONE;
  if
  :: head == NONE /* [take: look] */
  :: else ->
       d_step { /* [take: exchange] */
         release(t);
         acquire(t);
         list = head;
         count = (MODULUS - outstanding) % MODULUS;
         head = NONE;
         outstanding = 0
       }
  fi
}

/* abandon_page, with page_try_abandon, by the owner. */
inline let_go(t) {
  do
  :: d_step { check_page(t); next = used }; /* [abandon: count] */
     if
     :: next == 0 -> release_page(t); break /* [empty: release] */
     :: else
     fi;
     d_step {
       if
       :: head == NONE && outstanding == 0 -> /* [abandon: exchange] */
            release(t);
            owned = false;
            outstanding = next;
            owner = NO_THREAD;
            next = NONE + 1
       :: else -> acquire(t); next = 0
       fi
     };
     if
     :: next == NONE + 1 -> next = 0; break
     :: else -> take(t); merge(t) /* [reclaim: again] */
     fi
  od
}

/* page_push_remote of block `b`. With `home` the thread would like to have the page. */
inline push(t, home) {
  d_step { look(); acquire(t) }; /* [push: load] */
  do
  :: d_step { link[b] = saw_head; wrote_link(b, t) }; /* [push: link] */
     d_step {
       if
       :: UNCHANGED -> /* [push: exchange] [push: count] */
            next = (saw_outstanding + MODULUS - 1) % MODULUS;
            acquire(t);
            release(t);
            holder[b] = LIST;
            if
            :: !saw_owned && next == 0 -> result = 1 /* [push: last] */
            :: !saw_owned && next != 0 && home -> result = 2 /* [push: taken] */
            :: else -> result = 3 /* PUSH_QUEUED or PUSH_CLAIMABLE */
            fi;
            list = NONE;
            if
            :: result == 3 -> head = b; outstanding = next
            :: else ->
                 owned = true;
                 head = NONE;
                 outstanding = 0;
                 owner = t;
                 if
                 :: result == 2 -> list = b; count = next
                 :: else
                 fi
            fi;
            next = 0
       :: else -> look(); acquire(t)
       fi;
       saw_owned = saw_owned && result == 0;
       saw_head = (result == 0 -> saw_head : 0);
       saw_outstanding = (result == 0 -> saw_outstanding : 0)
     };
     if
     :: result != 0 -> break
     :: else
     fi
  od;
  if
  :: result == 1 -> result = 0; /* `used` is no longer of interest: all blocks came back */
       release_page(t)
  :: result == 2 -> result = 0; merge_unowned(t) /* [push: merge] */
  :: result == 3 -> result = 0
  fi
}

#define REGISTERS                                                                                  \
  byte list = NONE, saw_head, saw_outstanding, next, count, last, k, b, result;                                     \
  bool saw_owned

inline free_block(me) {
  if
  :: owner == me ->
       d_step {
         check_page(me);
         holder[b] = LIST;
         link[b] = mine;
         wrote_link(b, me);
         mine = b;
         used--;
         wrote_page(me)
       };
       if
       :: used == 0 -> release_page(me) /* heap_page_emptied */
       :: else
       fi
  :: owner != me && wants -> push(me, true)
  :: owner != me -> push(me, false) /* the owner word may name another heap by now */
  fi
}

/* Frees the blocks that it holds, in any order; while it owns the page without an exchange. The one
 * that `wants` the page may take it back with a free, and gives it up at any time. */
proctype freer(byte me; bool wants; byte turns) {
  REGISTERS;
  do
  :: holder[0] == me -> b = 0; free_block(me)
  :: BLOCKS > 1 && holder[1 % BLOCKS] == me -> b = 1; free_block(me)
  :: BLOCKS > 2 && holder[2 % BLOCKS] == me -> b = 2; free_block(me)
  :: owner == me && turns > 0 -> turns--; let_go(me)
  :: owner == me -> take(me); merge(me); let_go(me); turns = 0 /* the thread or heap ends */
  :: owner != me && holder[0] != me && holder[1 % BLOCKS] != me && holder[2 % BLOCKS] != me -> break
  od
}

/* Claims the page when it finds it abandoned, and abandons it again. */
proctype claimer(byte me; byte turns) {
  REGISTERS;
  do
  :: turns == 0 -> break
  :: else ->
       turns--;
       d_step { look() };
       do
       :: saw_owned -> break /* [claim: look] */
       :: else ->
            d_step {
              if
              :: UNCHANGED -> /* [claim: exchange] */
                   release(me);
                   acquire(me);
                   list = head;
                   count = outstanding;
                   owned = true;
                   head = NONE;
                   outstanding = 0;
                   owner = me;
                   result = 1
              :: else -> look()
              fi
            };
            if
            :: result == 1 ->
                 result = 0;
                 merge_unowned(me); /* [claim: merge] */
                 d_step { check_page(me); wrote_page(me) }; /* allocates a block and frees it */
                 let_go(me);
                 break
            :: else
            fi
       od
  od
}

init {
  byte i = 0;
  atomic {
    do
    :: i < BLOCKS ->
         knows_link[i] = 255;
         word_link[i] = true;
         link[i] = NONE;
         if /* each division of the blocks */
         :: holder[i] = 0
         :: holder[i] = 1
         :: holder[i] = 2
         fi;
         i++
    :: else -> break
    od;
    run freer(0, true, TURNS);
    run freer(1, false, 0);
    run freer(2, false, 0);
    run claimer(3, TURNS)
  }
  /* All blocks are free in the end, so one thread has given the page back. */
  (_nr_pr == 1);
  assert(released)
}
