/* stats_json.c - statistics as JSON.
 *
 * Threads: any.
 */
#include "stats.h"
#include "../runtime/log.h"

/* Writes the text that fits, and counts the length of the whole text. */
typedef struct json_s {
  char* to;
  size_t room, length;
} json_t;

static void json_text(json_t* j, const char* text) {
  size_t n = strlen(text);
  if (j->length + n <= j->room) memcpy(j->to + j->length, text, n);
  j->length += n;
}

#define JSON_FRAGMENT_MAX 256 /* no fragment is longer */
#define json_print(j, ...)                                                                         \
  do {                                                                                             \
    char fragment[JSON_FRAGMENT_MAX];                                                              \
    (void)format_text(fragment, sizeof(fragment), __VA_ARGS__);                                    \
    json_text((j), fragment);                                                                      \
  } while (0)

/* The members of a count, without braces. */
static void json_count(json_t* j, const mi_stat_count_t* c) {
  json_print(j, "\"total\": %lld, \"peak\": %lld, \"current\": %lld", (long long)c->total,
             (long long)c->peak, (long long)c->current);
}

static void json_bins(json_t* j, const char* name, const mi_stat_count_t* bins) {
  json_print(j, ",\n  \"%s\": [", name);
  for (size_t bin = 0; bin < BIN_COUNT; bin++) {
    json_text(j, bin == 0 ? "\n    { " : ",\n    { ");
    json_count(j, &bins[bin]);
    json_print(j, ", \"block_size\": %zu, \"page_size\": %zu }", mi_stats_get_bin_size(bin),
               bin_page_size(bin));
  }
  json_text(j, "\n  ]");
}

static void json_process(json_t* j, const process_info_t* p) {
  json_print(j, ",\n  \"process\": { \"elapsed_msecs\": %zu, \"user_msecs\": %zu", p->elapsed_ms,
             p->os.user_ms);
  json_print(j, ", \"system_msecs\": %zu, \"page_faults\": %zu", p->os.system_ms,
             p->os.page_faults);
  json_print(j, ", \"rss_current\": %zu, \"rss_peak\": %zu", p->os.rss, p->os.peak_rss);
  json_print(j, ", \"commit_current\": %zu, \"commit_peak\": %zu }", p->commit, p->peak_commit);
}

static void json_stats(json_t* j, const mi_stats_t* s, const process_info_t* process) {
  json_print(j, "{\n  \"stat_version\": %d,\n  \"mimalloc_version\": %d", MI_STAT_VERSION,
             MI_MALLOC_VERSION);
  json_process(j, process);
  for (size_t i = 0; i < FIELD_COUNT; i++) {
    const char* at = (const char*)s + fields[i].offset;
    json_print(j, ",\n  \"%s\": ", fields[i].name);
    if (fields[i].is_count) {
      json_text(j, "{ ");
      json_count(j, (const void*)at);
      json_text(j, " }");
    } else {
      json_print(j, "%lld", (long long)((const mi_stat_counter_t*)(const void*)at)->total);
    }
  }
  json_bins(j, "malloc_bins", s->malloc_bins);
  json_bins(j, "page_bins", s->page_bins);
  json_text(j, "\n}\n");
}

/* Prints the same numbers twice: first to know the length, so that no allocation changes them in
 * between. */
static char* json_of(const mi_stats_t* s, size_t size, char* buf) {
  process_info_t p;
  stats_process_info(&p);
  json_t j = {NULL, 0, 0};
  json_stats(&j, s, &p);
  size_t length = j.length;
  if (buf == NULL)
    buf = mi_malloc(length + 1);
  else if (size <= length)
    buf = NULL;
  if (buf == NULL) return NULL;
  j = (json_t){buf, length, 0};
  json_stats(&j, s, &p);
  buf[length] = 0;
  return buf;
}

char* mi_stats_as_json(mi_stats_t* stats, size_t buf_size, char* buf) mi_attr_noexcept {
  return stats_is_ours(stats) ? json_of(stats, buf_size, buf) : NULL;
}

char* mi_stats_get_json(size_t buf_size, char* buf) mi_attr_noexcept {
  mi_stats_t_decl(stats);
  (void)mi_stats_get(&stats);
  return json_of(&stats, buf_size, buf);
}

char* mi_heap_stats_get_json(mi_heap_t* heap, size_t buf_size, char* buf) mi_attr_noexcept {
  mi_stats_t_decl(stats);
  return mi_heap_stats_get(heap, &stats) ? json_of(&stats, buf_size, buf) : NULL;
}
