# docs/testing.md lists what failed in other allocators, line by line. Each line names a test case or a gate
# that exists, alone where the name says it all, or says why there is none.
#   cmake -DROOT=<folder of the repository> [-DLINES=<how many lines there are>] -P ...
cmake_minimum_required(VERSION 3.18)

if(NOT DEFINED LINES)
  set(LINES 111)
endif()

file(GLOB_RECURSE sources ${ROOT}/ctest/*.c ${ROOT}/ctest/*.cc ${ROOT}/tests/*.rs)
set(tests "")
foreach(source IN LISTS sources)
  file(READ ${source} text)
  string(APPEND tests "${text}")
endforeach()

file(READ ${ROOT}/ci/steps.sh steps)

# The lists below the headings of "Known failures": - what must hold: proof, or - proof
file(READ ${ROOT}/docs/testing.md text)
string(REGEX REPLACE "[][;]" "," text "${text}") # CMake's lists break at these
string(FIND "${text}" "\n## Known failures\n" at)
if(at EQUAL -1)
  message(FATAL_ERROR "docs/testing.md has no known failures")
endif()
string(SUBSTRING "${text}" ${at} -1 text)
string(FIND "${text}" "\n### " at)
string(SUBSTRING "${text}" ${at} -1 text)
string(REGEX REPLACE "\n  +" " " text "${text}") # one line each
string(REGEX MATCHALL "\n- [^\n]*" rows "${text}")

list(LENGTH rows count)
if(NOT count EQUAL LINES)
  message(SEND_ERROR "docs/testing.md lists ${count} known failures, not ${LINES}")
endif()

set(proved 0)
foreach(row IN LISTS rows)
  if(NOT row MATCHES "^\n- (.+: )?((gates? `|`|not proved: |does not apply: ).*)$")
    message(SEND_ERROR "the row is not as it should be: ${row}")
    continue()
  endif()
  set(proof "${CMAKE_MATCH_2}")
  string(REGEX MATCHALL "`[a-z0-9_]+`" names "${proof}")
  if(NOT names AND NOT proof MATCHES "(not proved|does not apply): ")
    message(SEND_ERROR "neither a proof nor a reason: ${row}")
  endif()
  foreach(name IN LISTS names)
    string(REPLACE "`" "" name "${name}")
    if(proof MATCHES "^gates? ")
      string(FIND "${steps}" "step_${name}()" at)
    else()
      string(FIND "${tests}" "${name}(" at)
    endif()
    if(at EQUAL -1)
      message(SEND_ERROR "docs/testing.md names the proof ${name}, which does not exist")
    endif()
    math(EXPR proved "${proved} + 1")
  endforeach()
endforeach()
message(STATUS "${count} lines, ${proved} proofs")
if(proved LESS 90)
  message(FATAL_ERROR "only ${proved} proofs found: the pattern is wrong")
endif()
