# docs/guarantees.md has the table of failures that the test errno_table runs, and that table and
# the list below it name each function of the headers.
#   cmake -DPROGRAM=<test program errno_table> -DINCLUDE=<folder> -DDOCS=<guarantees.md>
#     -DWORK=<folder to write in> -P ...
# To bring the document up to date:  PROGRAM --markdown  prints what belongs between the two marks.
cmake_minimum_required(VERSION 3.18)
include(${CMAKE_CURRENT_LIST_DIR}/../support/header.cmake)

function(run_program argument out)
  execute_process(COMMAND ${PROGRAM} ${argument} OUTPUT_VARIABLE text RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} ${argument} failed: ${status}")
  endif()
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# ---- the document ----

set(begin "<!-- errno table: begin -->\n")
set(end "\n<!-- errno table: end -->")
file(READ ${DOCS} text)
string(FIND "${text}" "${begin}" from)
string(FIND "${text}" "${end}" to)
if(from EQUAL -1 OR to EQUAL -1)
  message(FATAL_ERROR "the marks of the table are missing in ${DOCS}")
endif()
string(LENGTH "${begin}" length)
math(EXPR from "${from} + ${length}")
math(EXPR length "${to} - ${from}")
string(SUBSTRING "${text}" ${from} ${length} documented)
run_program(--markdown printed)
string(STRIP "${documented}" documented)
string(STRIP "${printed}" printed)
if(NOT documented STREQUAL printed)
  # The first line that differs is enough.
  while(TRUE)
    string(FIND "${documented}\n" "\n" d)
    string(FIND "${printed}\n" "\n" p)
    string(SUBSTRING "${documented}" 0 ${d} documented_line)
    string(SUBSTRING "${printed}" 0 ${p} printed_line)
    if(NOT documented_line STREQUAL printed_line)
      break()
    endif()
    math(EXPR d "${d} + 1")
    math(EXPR p "${p} + 1")
    string(SUBSTRING "${documented}" ${d} -1 documented)
    string(SUBSTRING "${printed}" ${p} -1 printed)
  endwhile()
  message(SEND_ERROR "the table in ${DOCS} is not that of ${PROGRAM} --markdown.\n"
    "document: ${documented_line}\nprogram:  ${printed_line}")
endif()

# ---- the headers ----

run_program(--functions names)
string(REGEX MATCHALL "[a-z0-9_]+" named "${names}")
list(REMOVE_DUPLICATES named)
file(READ ${INCLUDE}/mimalloc-stats.h text)
file(READ ${INCLUDE}/mimalloc.h more) # after the other: it ends with the templates of C++
file(WRITE ${WORK}/headers.h "${text}\n${more}")
header_functions(${WORK}/headers.h expected)
# These are inline.
list(REMOVE_ITEM expected mi_stats_init mi_stats_header_init)
list(REMOVE_DUPLICATES expected)
set(missing ${expected})
list(REMOVE_ITEM missing ${named})
if(missing)
  message(SEND_ERROR "no row in errno_table.c, and not among those that cannot fail: ${missing}")
endif()
set(surplus ${named})
list(REMOVE_ITEM surplus ${expected})
if(surplus)
  message(SEND_ERROR "named in errno_table.c, but in no header: ${surplus}")
endif()
list(LENGTH named count)
message(STATUS "${count} functions")
