/* os/elf.c - finds symbols in the tables of the loaded objects.
 *
 * Owns:    nothing.
 * Always:  it allocates nothing and does not take the loader's lock. dlsym() takes that lock, and
 *          could wait for a constructor that waits for this thread.
 * Threads: any. A result is valid while its object stays loaded; the caller sees to that.
 */
#include "os.h"

#if OS_TELLS_SYMBOLS

#include <elf.h>
#include <link.h>

#if UINTPTR_MAX > UINT32_MAX
#define SYMBOL_OF_RELOCATION(info) ELF64_R_SYM(info)
#else
#define SYMBOL_OF_RELOCATION(info) ELF32_R_SYM(info)
#endif

/* Relocations with and without an addend begin with the same fields. */
typedef ElfW(Rel) relocation_t;
typedef struct relocations_s {
  const char* start;
  size_t bytes, step;
} relocations_t;

typedef struct object_s {
  uintptr_t base;
  const char* names;
  const ElfW(Sym) * symbols;
  const uint32_t* hash;     /* System V's hash table: it holds the number of symbols */
  const uint32_t* gnu_hash; /* most objects have this table only */
  relocations_t data[2];    /* with addends, without */
} object_t;

static bool object_covers(const struct dl_phdr_info* info, uintptr_t address) {
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)* part = &info->dlpi_phdr[i];
    if (part->p_type == PT_LOAD && address - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
      return true;
  }
  return false;
}

/* Some loaders add the base to the addresses in the dynamic table, others do not. */
static const void* object_address(const struct dl_phdr_info* info, uintptr_t value) {
  return (const void*)(object_covers(info, value) ? value : info->dlpi_addr + value);
}

/* The value of the entry of this kind in a dynamic table; 0 if there is none. */
static uintptr_t entry_value(const ElfW(Dyn) * d, long tag) {
  while (d->d_tag != DT_NULL && d->d_tag != tag) d++;
  return d->d_tag == DT_NULL ? 0 : d->d_un.d_val;
}

static const void* entry_address(const struct dl_phdr_info* info, const ElfW(Dyn) * d, long tag) {
  uintptr_t value = entry_value(d, tag);
  return value == 0 ? NULL : object_address(info, value);
}

/* False if the object has no symbols for other objects. */
static bool object_read(const struct dl_phdr_info* info, object_t* o) {
  *o = (object_t){.base = info->dlpi_addr};
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn)* d = (const void*)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    o->names = entry_address(info, d, DT_STRTAB);
    o->symbols = entry_address(info, d, DT_SYMTAB);
    o->hash = entry_address(info, d, DT_HASH);
    o->gnu_hash = entry_address(info, d, DT_GNU_HASH);
    o->data[0] = (relocations_t){entry_address(info, d, DT_RELA), entry_value(d, DT_RELASZ),
                                 sizeof(ElfW(Rela))};
    o->data[1] = (relocations_t){entry_address(info, d, DT_REL), entry_value(d, DT_RELSZ),
                                 sizeof(ElfW(Rel))};
  }
  return o->names != NULL && o->symbols != NULL;
}

static void* symbol_if(const object_t* o, const ElfW(Sym) * symbol, const char* name) {
  if (symbol->st_shndx == SHN_UNDEF || strcmp(o->names + symbol->st_name, name) != 0) return NULL;
  return (void*)(o->base + symbol->st_value);
}

static void* symbol_by_gnu_hash(const object_t* o, const char* name) {
  const uint32_t buckets = o->gnu_hash[0], first = o->gnu_hash[1], filter_words = o->gnu_hash[2];
  const uint32_t* bucket = o->gnu_hash + 4 + filter_words * (sizeof(ElfW(Addr)) / 4);
  const uint32_t* chain = bucket + buckets;
  uint32_t hash = 5381;
  for (const char* c = name; *c != 0; c++) hash = hash * 33 + (unsigned char)*c;
  uint32_t i = buckets == 0 ? 0 : bucket[hash % buckets];
  for (; i >= first && i != 0; i++) {
    void* found = (chain[i - first] | 1) == (hash | 1) ? symbol_if(o, &o->symbols[i], name) : NULL;
    if (found != NULL || (chain[i - first] & 1) != 0) return found; /* the bit ends a chain */
  }
  return NULL;
}

static void* object_symbol(const object_t* o, const char* name) {
  if (o->gnu_hash != NULL) return symbol_by_gnu_hash(o, name);
  size_t count = o->hash == NULL ? 0 : o->hash[1];
  void* found = NULL;
  for (size_t i = 0; i < count && found == NULL; i++) found = symbol_if(o, &o->symbols[i], name);
  return found;
}

static void* object_bound(const object_t* o, const char* name) {
  for (size_t k = 0; k < 2; k++) {
    const relocations_t* r = &o->data[k];
    for (size_t at = 0; r->start != NULL && at < r->bytes; at += r->step) {
      const relocation_t* relocation = (const void*)(r->start + at);
      const ElfW(Sym)* symbol = &o->symbols[SYMBOL_OF_RELOCATION(relocation->r_info)];
      if (strcmp(o->names + symbol->st_name, name) == 0)
        return *(void**)(o->base + relocation->r_offset);
    }
  }
  return NULL;
}

/* ---- the search ---- */

typedef struct search_s {
  uintptr_t address; /* 0: in every object */
  const char* name;
  void* (*look)(const object_t* o, const char* name);
  void* found;
} search_t;

/* Not 0 ends the iteration. */
static int search_object(struct dl_phdr_info* info, size_t size, void* arg) {
  search_t* s = arg;
  object_t o;
  (void)size;
  if (s->address != 0 && !object_covers(info, s->address)) return 0;
  if (object_read(info, &o)) s->found = s->look(&o, s->name);
  return s->address != 0 || s->found != NULL;
}

INTERNAL void* os_symbol(os_where_t where, const void* address, const char* name) {
  search_t s = {(uintptr_t)address, name, &object_symbol, NULL};
  if (address == NULL && where != OS_ANYWHERE) return NULL;
  if (where == OS_BOUND_AT) s.look = &object_bound;
  (void)dl_iterate_phdr(&search_object, &s);
  return s.found;
}

#endif
