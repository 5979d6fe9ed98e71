# The reference in docs/guide.md tells the truth: each option of the header stands there once, with its default
# in a clean environment, and its valid values.
#   cmake -DPROGRAM=<test program options> -DHEADER=<mimalloc.h> -DDOCS=<guide.md> -P ...

file(READ ${HEADER} text)
string(REGEX REPLACE "/\\*([^*]|\\*+[^*/])*\\*+/" " " text "${text}")
if(NOT text MATCHES "enum mi_option_e {([^}]*)_mi_option_last,")
  message(FATAL_ERROR "no options in ${HEADER}")
endif()
string(REGEX MATCHALL "mi_option_[a-z_]+" names "${CMAKE_MATCH_1}")
list(TRANSFORM names REPLACE "^mi_option_" "")
list(LENGTH names count)

# Characters at which CMake's lists break are replaced.
file(READ ${DOCS} text)
string(REGEX REPLACE "[][;]" "," text "${text}")
string(REGEX REPLACE "\n  +" " " text "${text}") # one line each
string(REGEX MATCHALL "\n(\\| |- )[0-9]+ (\\| )?`[a-z_]+`[^\n]*" rows "${text}")
list(LENGTH rows row_count)
if(NOT row_count EQUAL count)
  message(SEND_ERROR "${row_count} options in ${DOCS}, ${count} in ${HEADER}")
endif()

execute_process(COMMAND env -i ${PROGRAM} helper_list - OUTPUT_VARIABLE output
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} failed: ${status}")
endif()
string(REGEX MATCHALL "[^\n]+" lines "${output}")

set(number 0)
foreach(name IN LISTS names)
  list(GET lines ${number} line)
  if(NOT line MATCHES "^${number} ${name} (-?[0-9]+) (.*)$")
    message(SEND_ERROR "option ${number} is ${name} in the header, but the test says: ${line}")
  endif()
  set(value "${CMAKE_MATCH_1}")
  set(valid "${CMAKE_MATCH_2}")
  if(DEBUG_FULL AND name STREQUAL show_errors)
    set(value 0) # the documented default is that of release builds
  endif()
  # In the table: | number | `name` | default | valid | effect |
  # In the list of those without effect: - number `name`: default, valid (remark)
  set(row ${rows})
  list(FILTER row INCLUDE REGEX "^\n(\\| |- )${number} ")
  set(cell " \\| ")
  if(row MATCHES
      "^\n\\| ${number}${cell}`${name}`${cell}(-?[0-9]+)( [^|]*)?${cell}([^|]*[^ |])${cell}[^|]+ \\|$")
  elseif(NOT row MATCHES "^\n- ${number} `${name}`: (-?[0-9]+)(,) ([^(]*[^ (])( \\(.*\\))?$")
    message(SEND_ERROR "option ${number}, ${name}: the row is not as it should be:${row}")
  endif()
  if(NOT CMAKE_MATCH_1 STREQUAL value)
    message(SEND_ERROR "${name}: default is ${value}, documented as ${CMAKE_MATCH_1}")
  elseif(NOT CMAKE_MATCH_3 STREQUAL valid)
    message(SEND_ERROR "${name}: valid is \"${valid}\", documented as \"${CMAKE_MATCH_3}\"")
  endif()
  math(EXPR number "${number} + 1")
endforeach()
message(STATUS "${count} options compared")
