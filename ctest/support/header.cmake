# header_functions(<file> <variable>): the names of the functions that a header declares, and those
# of mimalloc-stats.h beside it.
function(header_functions header out)
  file(READ ${header} text)
  get_filename_component(folder ${header} DIRECTORY)
  if(EXISTS ${folder}/mimalloc-stats.h)
    file(READ ${folder}/mimalloc-stats.h stats)
    string(PREPEND text "${stats}\n") # in front: what follows the first template is cut off
  endif()
  string(REGEX REPLACE "/\\*([^*]|\\*+[^*/])*\\*+/" " " text "${text}")
  string(REGEX REPLACE "//[^\n]*" " " text "${text}")
  string(REGEX REPLACE "static inline [^}]*}" " " text "${text}") # part of the program
  string(REGEX REPLACE "#([^\\\\\n]|\\\\.)*" " " text "${text}")
  string(REGEX REPLACE "\ntemplate .*" "" text "${text}") # the classes of C++ stand at the end
  string(REGEX MATCHALL "[ *\n]mi_[a-z0-9_]+\\(" found "${text}")
  set(names "")
  foreach(match IN LISTS found)
    string(REGEX REPLACE "[^a-z0-9_]" "" name "${match}")
    if(NOT name MATCHES "^mi_(attr|decl)_")
      list(APPEND names ${name})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES names)
  list(LENGTH names count)
  if(count LESS 60)
    message(FATAL_ERROR "only ${count} functions found in ${header}: the pattern is wrong")
  endif()
  set(${out} "${names}" PARENT_SCOPE)
endfunction()
