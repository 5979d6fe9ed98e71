# The symbols of the built libraries: the shared library exactly the
# functions of the header and the names that it replaces, the static library and the object at
# least these; at most 8 bytes of thread-local storage; NODELETE.
cmake_minimum_required(VERSION 3.18)
include(${CMAKE_CURRENT_LIST_DIR}/../support/header.cmake)
header_functions(${HEADER} expected)

set(taken_over
  malloc calloc realloc free strdup strndup reallocf malloc_size malloc_usable_size valloc vfree
  malloc_good_size posix_memalign aligned_alloc cfree pvalloc memalign _aligned_malloc
  reallocarray reallocarr
  __libc_malloc __libc_calloc __libc_realloc __libc_free __libc_cfree __libc_valloc
  __libc_pvalloc __libc_memalign __posix_memalign
  free_sized free_aligned_sized malloc_trim mallinfo mallinfo2 malloc_info malloc_stats mallopt
  _ZdlPv _ZdaPv _ZdlPvm _ZdaPvm _ZdlPvSt11align_val_t _ZdaPvSt11align_val_t
  _ZdlPvmSt11align_val_t _ZdaPvmSt11align_val_t _ZdlPvRKSt9nothrow_t _ZdaPvRKSt9nothrow_t
  _ZdlPvSt11align_val_tRKSt9nothrow_t _ZdaPvSt11align_val_tRKSt9nothrow_t
  _Znwm _Znam _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t _ZnwmSt11align_val_t
  _ZnamSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t _ZnamSt11align_val_tRKSt9nothrow_t)
list(APPEND expected ${taken_over})
# A static program has its C library's, which ours would hide.
set(in_shared dlopen dlmopen)

# Defined global names of a file; further arguments go to nm.
function(defined_names file out)
  execute_process(COMMAND ${NM} --defined-only --extern-only ${ARGN} ${file}
    OUTPUT_VARIABLE text RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "nm failed for ${file}")
  endif()
  string(REGEX MATCHALL "[0-9a-f]+ [A-Za-z] [^ \n]+" lines "${text}")
  set(names "")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^[0-9a-f]+ [A-Za-z] ([^ @]+).*$" "\\1" name "${line}")
    list(APPEND names ${name})
  endforeach()
  set(${out} "${names}" PARENT_SCOPE)
endfunction()

function(check_has file names)
  set(missing ${expected})
  list(REMOVE_ITEM missing ${names})
  if(missing)
    message(SEND_ERROR "missing in ${file}: ${missing}")
  endif()
endfunction()

defined_names(${SHARED} shared_names --dynamic)
check_has(${SHARED} "${shared_names}")
set(surplus ${shared_names})
list(REMOVE_ITEM surplus ${expected} ${in_shared})
if(surplus)
  message(SEND_ERROR "exported but neither in the header nor replaced: ${surplus}")
endif()

defined_names(${STATIC} static_names)
check_has(${STATIC} "${static_names}")
defined_names(${OBJECT} object_names)
check_has(${OBJECT} "${object_names}")
foreach(name IN LISTS in_shared)
  if(name IN_LIST static_names OR name IN_LIST object_names)
    message(SEND_ERROR "${name} is defined in what is linked statically")
  endif()
endforeach()

execute_process(COMMAND ${READELF} -lW ${SHARED} OUTPUT_VARIABLE segments)
if(segments MATCHES "\n *TLS +0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ (0x[0-9a-f]+)")
  math(EXPR tls_bytes "${CMAKE_MATCH_1}")
  if(tls_bytes GREATER 8)
    message(SEND_ERROR "${tls_bytes} bytes of thread-local storage, at most 8 are allowed")
  endif()
elseif(NOT segments MATCHES "LOAD")
  message(SEND_ERROR "readelf shows no segments of ${SHARED}")
endif()
execute_process(COMMAND ${READELF} -dW ${SHARED} OUTPUT_VARIABLE dynamic)
if(NOT dynamic MATCHES "NODELETE")
  message(SEND_ERROR "the flag NODELETE is missing")
endif()
if(NOT dynamic MATCHES "SONAME[^\n]*libmimalloc[^\n]*\\.so\\.2")
  message(SEND_ERROR "the soname is not libmimalloc.so.2")
endif()
list(LENGTH shared_names count)
message(STATUS "${count} exported names, ${tls_bytes} bytes of thread-local storage")
