# The C++ side of the interface: the headers mimalloc-new-delete.h and mimalloc-override.h and the
# allocators of mimalloc.h, compiled by each installed compiler, with each C++ library and
# standard; and the protocol of mi_new. The programs are linked with a library that overrides
# nothing, so that each block that is ours came through these headers.
#
# Included at the end of CMakeLists.txt.
if(MI_SANITIZE OR MI_DEBUG_FULL)
  message(STATUS "Not part of this build (sanitizer or debug): cxx_headers")
  return()
endif()

set(cxx_headers_plain mimalloc-static)
if(TARGET mimalloc-plain)
  set(cxx_headers_plain mimalloc-plain)
endif()
set(cxx_headers_source ${CMAKE_CURRENT_LIST_DIR})
set(cxx_headers_include ${library_root}/include)
set(cxx_headers_build ${CMAKE_CURRENT_BINARY_DIR}/cxx_headers)
file(MAKE_DIRECTORY ${cxx_headers_build})
file(GLOB cxx_headers_depends CONFIGURE_DEPENDS ${cxx_headers_include}/*.h
  ${support}/*.h)
set(cxx_headers_outputs "")

# Without -g: half of the compilers' time.
set(cxx_headers_flags -I${cxx_headers_include} -iquote ${support} -fno-builtin
  -Wall -Wextra -Wundef -Wno-long-long)
if(MI_WERROR)
  list(APPEND cxx_headers_flags -Werror)
endif()

# cxx_headers_compile(<output> <source> <command> <flag>...)
function(cxx_headers_compile output source)
  add_custom_command(OUTPUT ${output} VERBATIM
    COMMAND ${ARGN} ${cxx_headers_flags} -c ${cxx_headers_source}/${source} -o ${output}
    DEPENDS ${cxx_headers_source}/${source} ${cxx_headers_depends})
  set(cxx_headers_outputs ${cxx_headers_outputs} ${output} PARENT_SCOPE)
endfunction()

# cxx_headers_link(<output> <object> <library target> <command> <flag>...)
function(cxx_headers_link output object library)
  add_custom_command(OUTPUT ${output} VERBATIM
    COMMAND ${ARGN} ${object} $<TARGET_FILE:${library}> -lpthread -ldl -o ${output}
    DEPENDS ${object} ${library})
  set(cxx_headers_outputs ${cxx_headers_outputs} ${output} PARENT_SCOPE)
endfunction()

# cxx_headers_test(<name> <program>...)
function(cxx_headers_test name)
  add_test(NAME cxx_headers_${name} COMMAND ${CMAKE_COMMAND} "-DPROGRAMS=${ARGN}"
    -P ${cxx_headers_source}/run.cmake)
  set_tests_properties(cxx_headers_${name} PROPERTIES LABELS quick TIMEOUT 120)
endfunction()

# What the allocators call is counted.
set(cxx_headers_wraps "")
foreach(name mi_new_n mi_new_aligned mi_free mi_heap_new mi_heap_delete mi_heap_destroy
    mi_heap_alloc_new_n mi_heap_malloc_aligned)
  list(APPEND cxx_headers_wraps -Wl,--wrap=${name})
endforeach()

# cxx_headers_toolchain(<name> <compiler> <flag>...): all programs with one C++ library.
function(cxx_headers_toolchain name)
  foreach(program operators allocators override)
    set(${program}_programs "")
  endforeach()
  foreach(variant 98 11 14 17 20 17-noexcept)
    string(REGEX REPLACE "-.*" "" standard ${variant})
    set(command ${ARGN} -std=c++${standard})
    if(variant MATCHES "noexcept")
      list(APPEND command -fno-exceptions -fno-rtti)
    endif()
    if(name MATCHES "^clang")
      if(standard EQUAL 98)
        list(APPEND command -Wno-variadic-macros)
      elseif(standard GREATER 11)
        # Clang before version 19 has the sized forms of delete only if told so.
        list(APPEND command -fsized-deallocation)
      endif()
    endif()
    set(prefix ${cxx_headers_build}/${name}-${variant})

    # Some checks of operators.cc depend on the optimizer.
    cxx_headers_compile(${prefix}-operators.o operators.cc ${command} -O1)
    cxx_headers_link(${prefix}-operators ${prefix}-operators.o ${cxx_headers_plain} ${command})
    list(APPEND operators_programs ${prefix}-operators)
    cxx_headers_compile(${prefix}-allocators.o allocators.cc ${command} -O0)
    cxx_headers_link(${prefix}-allocators ${prefix}-allocators.o ${cxx_headers_plain} ${command}
      ${cxx_headers_wraps})
    list(APPEND allocators_programs ${prefix}-allocators)
    if(variant MATCHES "noexcept")
      continue()
    endif()
    cxx_headers_compile(${prefix}-override.o override.c ${command} -O1 -fshort-wchar -x c++)
    cxx_headers_link(${prefix}-override ${prefix}-override.o ${cxx_headers_plain} ${command})
    list(APPEND override_programs ${prefix}-override)
    cxx_headers_compile(${prefix}-warnings.o warnings.cc ${command} -O0 -fno-exceptions -fno-rtti
      -Werror -Wpedantic -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Wdeprecated -Wconversion
      -Wsign-conversion)
  endforeach()
  foreach(program operators allocators override)
    cxx_headers_test(${program}_${name} ${${program}_programs})
  endforeach()

  set(prefix ${cxx_headers_build}/${name})
  set(command ${ARGN} -std=c++17)
  cxx_headers_compile(${prefix}-protocol.o protocol.cc ${command} -O1)
  cxx_headers_link(${prefix}-protocol ${prefix}-protocol.o ${cxx_headers_plain} ${command})
  cxx_headers_test(protocol_${name} ${prefix}-protocol)
  if(MI_OVERRIDE)
    cxx_headers_compile(${prefix}-runtime.o runtime.cc ${command} -O1)
    cxx_headers_link(${prefix}-runtime ${prefix}-runtime.o mimalloc-static ${command} -static)
    set(programs ${prefix}-runtime)
    if(NOT ARGN MATCHES "libc\\+\\+")
      cxx_headers_link(${prefix}-runtime-cxx ${prefix}-runtime.o mimalloc-static ${command}
        -static-libstdc++)
      list(APPEND programs ${prefix}-runtime-cxx)
    endif()
    cxx_headers_test(runtime_${name} ${programs})
  endif()
  set(cxx_headers_outputs ${cxx_headers_outputs} PARENT_SCOPE)
endfunction()

foreach(compiler gcc clang)
  find_program(CXX_HEADERS_${compiler} ${compiler})
  string(REGEX REPLACE "gcc$" "g++" cxx "${CXX_HEADERS_${compiler}}")
  string(REGEX REPLACE "clang$" "clang++" cxx "${cxx}")
  if(NOT EXISTS "${cxx}")
    message(STATUS "No ${compiler} with C++: cxx_headers without it")
    continue()
  endif()
  cxx_headers_toolchain(${compiler} ${cxx})
  set(object ${cxx_headers_build}/${compiler}-c-override.o)
  set(program ${cxx_headers_build}/${compiler}-c-override)
  cxx_headers_compile(${object} override.c ${CXX_HEADERS_${compiler}} -std=c11 -O1 -fshort-wchar)
  cxx_headers_link(${program} ${object} ${cxx_headers_plain} ${CXX_HEADERS_${compiler}})
  cxx_headers_test(override_${compiler}_c ${program})
  if(compiler STREQUAL "clang")
    file(WRITE ${cxx_headers_build}/libcxx.cc "#include <vector>\nint main() { return 0; }\n")
    execute_process(COMMAND ${cxx} -stdlib=libc++ ${cxx_headers_build}/libcxx.cc
      -o ${cxx_headers_build}/libcxx RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
    if(status EQUAL 0)
      cxx_headers_toolchain(clang_libcxx ${cxx} -stdlib=libc++)
    else()
      message(STATUS "No libc++: cxx_headers without it")
    endif()
  endif()
endforeach()
add_custom_target(cxx_headers ALL DEPENDS ${cxx_headers_outputs})

# cxx_headers_project_test(<name> <source> <library>): with the compilers of the project
function(cxx_headers_project_test name source library)
  test_program(cxx_headers_${name} ${cxx_headers_source}/${source})
  target_link_libraries(cxx_headers_${name} PRIVATE ${library})
  add_test(NAME cxx_headers_${name} COMMAND cxx_headers_${name})
  set_tests_properties(cxx_headers_${name} PROPERTIES LABELS quick TIMEOUT 120)
endfunction()
cxx_headers_project_test(no_runtime no_runtime.c ${cxx_headers_plain})
if(MI_OVERRIDE)
  cxx_headers_project_test(protocol_shared protocol.cc mimalloc)
endif()
