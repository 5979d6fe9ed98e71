// own_new.cc - programs that bring some forms of operator new and delete of their own: each form
// that they leave to us leads to those that they have, as C++ says, and those that lead nowhere
// are ours.
//
// Built once per set of own forms and way of linking, see own_parts.cmake. A block of an own form
// has a header that says so, and a form that gets a block of another counts a failure.
#include "probe.h"
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <thread>
#include <vector>

// Preloaded or linked, the library is there when the program runs.
extern "C" bool mi_is_in_heap_region(const void* p) __attribute__((weak));

namespace {

enum form_t { PLAIN, ALIGNED, ARRAY, ARRAY_ALIGNED, FORMS, OURS = FORMS };
#ifndef OWN_PLAIN
#define OWN_PLAIN 0
#endif
#ifndef OWN_ALIGNED
#define OWN_ALIGNED 0
#endif
#ifndef OWN_ARRAY
#define OWN_ARRAY 0
#endif
#ifndef OWN_ARRAY_ALIGNED
#define OWN_ARRAY_ALIGNED 0
#endif

// Where a form ends, [new.delete.array]: new[] calls new, with an alignment or without.
const form_t END_OF_PLAIN = OWN_PLAIN ? PLAIN : OURS;
const form_t END_OF_ALIGNED = OWN_ALIGNED ? ALIGNED : OURS;
const form_t END_OF_ARRAY = OWN_ARRAY ? ARRAY : END_OF_PLAIN;
const form_t END_OF_ARRAY_ALIGNED = OWN_ARRAY_ALIGNED ? ARRAY_ALIGNED : END_OF_ALIGNED;

struct alignas(16) header_t {
  size_t size;
  unsigned form;
  unsigned magic;
};
const unsigned MAGIC = 0x6f776e21;

long made[FORMS], ended[FORMS];
enum refusal_t { NONE, BAD_ALLOC, NUMBER } refusal;
int cleaned_up; // objects that an exception of an own form has destroyed

struct cleanup_t {
  ~cleanup_t() { cleaned_up++; }
};

CHECK_UNUSED void* own_new(form_t form, size_t size, size_t alignment) {
  cleanup_t cleanup;
  if (refusal == BAD_ALLOC) throw std::bad_alloc();
  if (refusal == NUMBER) throw 42;
  size_t front = alignment < sizeof(header_t) ? sizeof(header_t) : alignment;
  char* start = static_cast<char*>(std::aligned_alloc(front, round_up(front + size, front)));
  if (start == nullptr) throw std::bad_alloc();
  header_t header = {size, form, MAGIC};
  memcpy(start + front - sizeof header, &header, sizeof header);
  __atomic_fetch_add(&made[form], 1, __ATOMIC_RELAXED);
  return start + front;
}

CHECK_UNUSED void own_delete(form_t form, void* p, size_t alignment) {
  if (p == nullptr) return;
  size_t front = alignment < sizeof(header_t) ? sizeof(header_t) : alignment;
  header_t header;
  memcpy(&header, static_cast<char*>(p) - sizeof header, sizeof header);
  if (header.magic != MAGIC || header.form != form) {
    check_fail("form %d of delete gets a block of form %u, mark %x\n", form, header.form,
               header.magic);
    return;
  }
  __atomic_fetch_add(&ended[form], 1, __ATOMIC_RELAXED);
  std::free(static_cast<char*>(p) - front);
}

} // namespace

// As a program from before C++14 has them.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#endif
#if OWN_PLAIN
void* operator new(size_t n) { return own_new(PLAIN, n, 1); }
void operator delete(void* p) noexcept { own_delete(PLAIN, p, 1); }
#endif
#if OWN_ALIGNED
void* operator new(size_t n, std::align_val_t a) { return own_new(ALIGNED, n, size_t(a)); }
void operator delete(void* p, std::align_val_t a) noexcept { own_delete(ALIGNED, p, size_t(a)); }
#endif
#if OWN_ARRAY
void* operator new[](size_t n) { return own_new(ARRAY, n, 1); }
void operator delete[](void* p) noexcept { own_delete(ARRAY, p, 1); }
#endif
#if OWN_ARRAY_ALIGNED
void* operator new[](size_t n, std::align_val_t a) { return own_new(ARRAY_ALIGNED, n, size_t(a)); }
void operator delete[](void* p, std::align_val_t a) noexcept {
  own_delete(ARRAY_ALIGNED, p, size_t(a));
}
#endif

namespace {

const std::align_val_t WIDE{64};
const size_t SIZE = 100;

// Every way to get a block, and every way to give that back.
struct way_t {
  const char* name;
  form_t end;
  void* (*get)(size_t size);
  void (*give)(void* p);
};
const way_t ways[] = {
    {"new, delete", END_OF_PLAIN, [](size_t n) { return ::operator new(n); },
     [](void* p) { ::operator delete(p); }},
    {"new, sized delete", END_OF_PLAIN, [](size_t n) { return ::operator new(n); },
     [](void* p) { ::operator delete(p, SIZE); }},
    {"nothrow new, delete", END_OF_PLAIN, [](size_t n) { return ::operator new(n, std::nothrow); },
     [](void* p) { ::operator delete(p); }},
    {"nothrow new, nothrow delete", END_OF_PLAIN,
     [](size_t n) { return ::operator new(n, std::nothrow); },
     [](void* p) { ::operator delete(p, std::nothrow); }},
    {"new[], delete[]", END_OF_ARRAY, [](size_t n) { return ::operator new[](n); },
     [](void* p) { ::operator delete[](p); }},
    {"new[], sized delete[]", END_OF_ARRAY, [](size_t n) { return ::operator new[](n); },
     [](void* p) { ::operator delete[](p, SIZE); }},
    {"nothrow new[], delete[]", END_OF_ARRAY,
     [](size_t n) { return ::operator new[](n, std::nothrow); },
     [](void* p) { ::operator delete[](p); }},
    {"nothrow new[], nothrow delete[]", END_OF_ARRAY,
     [](size_t n) { return ::operator new[](n, std::nothrow); },
     [](void* p) { ::operator delete[](p, std::nothrow); }},
    {"aligned new, delete", END_OF_ALIGNED, [](size_t n) { return ::operator new(n, WIDE); },
     [](void* p) { ::operator delete(p, WIDE); }},
    {"aligned new, sized delete", END_OF_ALIGNED, [](size_t n) { return ::operator new(n, WIDE); },
     [](void* p) { ::operator delete(p, SIZE, WIDE); }},
    {"aligned nothrow new, nothrow delete", END_OF_ALIGNED,
     [](size_t n) { return ::operator new(n, WIDE, std::nothrow); },
     [](void* p) { ::operator delete(p, WIDE, std::nothrow); }},
    {"aligned new[], delete[]", END_OF_ARRAY_ALIGNED,
     [](size_t n) { return ::operator new[](n, WIDE); },
     [](void* p) { ::operator delete[](p, WIDE); }},
    {"aligned new[], sized delete[]", END_OF_ARRAY_ALIGNED,
     [](size_t n) { return ::operator new[](n, WIDE); },
     [](void* p) { ::operator delete[](p, SIZE, WIDE); }},
    {"aligned nothrow new[], nothrow delete[]", END_OF_ARRAY_ALIGNED,
     [](size_t n) { return ::operator new[](n, WIDE, std::nothrow); },
     [](void* p) { ::operator delete[](p, WIDE, std::nothrow); }},
};

bool is_nothrow(const way_t& way) { return strstr(way.name, "nothrow new") != nullptr; }

void each_form_ends_in_the_form_of_the_program() {
  for (const way_t& way : ways) {
    long before_made = way.end == OURS ? 0 : made[way.end];
    long before_ended = way.end == OURS ? 0 : ended[way.end];
    void* p = opaque(way.get(SIZE));
    REQUIRE(p != nullptr);
    memset(p, 1, SIZE);
    if (strstr(way.name, "aligned") != nullptr) CHECK(is_aligned(p, size_t(WIDE)));
    bool right = way.end == OURS ? mi_is_in_heap_region(p) : made[way.end] == before_made + 1;
    way.give(p);
    if (way.end != OURS) right = right && ended[way.end] == before_ended + 1;
    if (!CHECK(right)) check_note("%s\n", way.name);
  }
}

void null_may_be_deleted() {
  for (const way_t& way : ways) way.give(nullptr);
}

// The standard library's own code, in its shared library too.
void objects_and_containers_balance() {
  struct block_t {
    int x[20];
  };
  {
    std::vector<block_t*> blocks;
    for (int i = 0; i < 1000; i++) {
      blocks.push_back(new block_t);
      blocks.push_back(new (std::nothrow) block_t);
    }
    for (block_t* b : blocks) delete b;
    delete[](new block_t[5]);
    delete[](new (std::nothrow) block_t[5]);
    std::vector<std::string> words;
    for (size_t i = 0; i < 1000; i++) words.push_back(std::string(i % 100, 'x'));
    std::thread([&words] { words.push_back(std::string(500, 'y')); }).join();
  }
  for (int form = 0; form < FORMS; form++) CHECK_EQ(made[form], ended[form]);
}

void nothrow_forms_return_null_when_the_program_throws() {
  for (int kind = BAD_ALLOC; kind <= NUMBER; kind++) {
    for (int i = 0; i < 100; i++) {
      for (const way_t& way : ways) {
        if (!is_nothrow(way) || way.end == OURS) continue;
        int before = cleaned_up;
        refusal = static_cast<refusal_t>(kind);
        void* p = opaque(way.get(SIZE));
        refusal = NONE;
        CHECK_NULL(p);
        CHECK_EQ(cleaned_up, before + 1); // what the exception left was cleaned up
        CHECK_EQ(std::uncaught_exceptions(), 0);
      }
    }
  }
  each_form_ends_in_the_form_of_the_program();
}

const size_t TOO_MUCH = SIZE_MAX / 2;
int handler_calls;
void handler_that_throws() {
  handler_calls++;
  throw 42;
}

void nothrow_forms_return_null_when_the_handler_throws() {
  std::set_new_handler(&handler_that_throws);
  for (int i = 0; i < 100; i++) {
    for (const way_t& way : ways) {
      if (!is_nothrow(way) || way.end != OURS) continue;
      int before = handler_calls;
      CHECK_NULL(opaque(way.get(opaque_size(TOO_MUCH))));
      CHECK_EQ(handler_calls, before + 1);
      CHECK_EQ(std::uncaught_exceptions(), 0);
    }
  }
}

// A handler that asks for memory without exceptions while another such request waits for it.
int depth;
void handler_that_asks() {
  if (++depth < 5) CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), std::nothrow)));
  throw std::string("an exception that owns memory, of more than a few bytes");
}

void nothrow_forms_work_inside_each_other() {
  std::set_new_handler(&handler_that_asks);
  if (END_OF_PLAIN != OURS) return;
  CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), std::nothrow)));
  CHECK_EQ(depth, 5);
  CHECK_EQ(std::uncaught_exceptions(), 0);
}

void forms_that_throw_let_the_exception_out() {
  for (const way_t& way : ways) {
    if (is_nothrow(way)) continue;
    bool caught = false;
    refusal = BAD_ALLOC;
    try {
      opaque(way.get(opaque_size(way.end == OURS ? TOO_MUCH : SIZE)));
    } catch (const std::bad_alloc&) {
      caught = true;
    }
    refusal = NONE;
    if (!CHECK(caught)) check_note("%s\n", way.name);
  }
}

const check_case_t cases[] = {
    CASE(each_form_ends_in_the_form_of_the_program),
    CASE(null_may_be_deleted),
    CASE(objects_and_containers_balance),
    CASE(nothrow_forms_return_null_when_the_program_throws),
    CASE(nothrow_forms_return_null_when_the_handler_throws),
    CASE(nothrow_forms_work_inside_each_other),
    CASE(forms_that_throw_let_the_exception_out),
};

} // namespace

int main(int argc, char** argv) {
  if (&mi_is_in_heap_region == nullptr) {
    check_fail("this program has no library of ours\n");
    return 1;
  }
  return CHECK_MAIN(argc, argv, cases);
}
