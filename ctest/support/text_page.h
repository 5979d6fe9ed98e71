/* text_page.h - keeps the text that an output function gets. */
#pragma once
#include "probe.h"

typedef struct page_s {
  size_t used;
  char text[32 * KIB];
} page_t;

CHECK_UNUSED static void on_text(const char* message, void* arg) {
  page_t* page = (page_t*)arg;
  size_t length = strlen(message);
  REQUIRE(page->used + length < sizeof page->text);
  memcpy(page->text + page->used, message, length + 1);
  page->used += length;
}

static page_t page;
