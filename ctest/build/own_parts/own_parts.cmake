# Programs that bring parts of their own: forms of new and delete, a malloc, libraries that they open.
# Our library is preloaded or linked, in each way that matters.
#
# Included at the end of CMakeLists.txt.
if(NOT MI_OVERRIDE)
  message(STATUS "Not part of this build (sanitizer): own_new, own_malloc, cxx_plugin, deepbind")
  return()
endif()

set(own_parts_source ${CMAKE_CURRENT_LIST_DIR})
set(own_parts_folder ${CMAKE_CURRENT_BINARY_DIR}/own_parts)
file(MAKE_DIRECTORY ${own_parts_folder})

# own_parts_program(<name> <source> <way of linking> <definition>...)
function(own_parts_program name source link)
  set(program ${name}_${link})
  if(link STREQUAL "object")
    test_program(${program} build/${source} $<TARGET_OBJECTS:mimalloc-obj>)
  else()
    test_program(${program} build/${source})
  endif()
  target_compile_definitions(${program} PRIVATE ${ARGN})
  add_test(NAME ${program} COMMAND ${program})
  set_tests_properties(${program} PROPERTIES LABELS preload TIMEOUT 300)
  if(link STREQUAL "preload")
    add_dependencies(${program} mimalloc)
    set_tests_properties(${program} PROPERTIES ENVIRONMENT "LD_PRELOAD=$<TARGET_FILE:mimalloc>")
  elseif(link STREQUAL "shared")
    # The linker would leave a library out that only weak names refer to.
    target_link_options(${program} PRIVATE -Wl,--no-as-needed)
    target_link_libraries(${program} PRIVATE mimalloc)
  elseif(NOT link STREQUAL "object")
    target_link_libraries(${program} PRIVATE mimalloc-static)
  endif()
  if(link STREQUAL "wholly_static")
    target_link_options(${program} PRIVATE -static)
  elseif(link STREQUAL "static_runtime")
    target_link_options(${program} PRIVATE -static-libstdc++ -static-libgcc)
  endif()
endfunction()

foreach(link preload shared static object wholly_static static_runtime)
  own_parts_program(own_new own_new.cc ${link} OWN_PLAIN=1)
endforeach()
foreach(link preload static)
  own_parts_program(own_new_none own_new.cc ${link})
  own_parts_program(own_new_aligned own_new.cc ${link} OWN_ALIGNED=1)
  own_parts_program(own_new_arrays own_new.cc ${link} OWN_ARRAY=1 OWN_ARRAY_ALIGNED=1)
  own_parts_program(own_new_both own_new.cc ${link} OWN_PLAIN=1 OWN_ALIGNED=1)
endforeach()

foreach(link preload shared)
  own_parts_program(own_malloc own_malloc.c ${link} OWN_POOL=1)
  own_parts_program(own_malloc_memalign own_malloc.c ${link} OWN_POOL=1 OWN_MEMALIGN=1)
  own_parts_program(own_malloc_posix own_malloc.c ${link} OWN_POOL=1 OWN_POSIX_MEMALIGN=1)
  own_parts_program(own_malloc_c11 own_malloc.c ${link} OWN_POOL=1 OWN_ALIGNED_ALLOC=1)
  own_parts_program(own_malloc_wrapper own_malloc.c ${link} OWN_WRAPPER=1)
  own_parts_program(own_malloc_wrapper_memalign own_malloc.c ${link} OWN_WRAPPER=1 OWN_MEMALIGN=1)
endforeach()
foreach(made malloc_by_memalign malloc_by_aligned_alloc malloc_by_posix_memalign
    memalign_by_aligned_alloc memalign_by_posix_memalign)
  string(TOUPPER ${made} how)
  string(REGEX MATCH "^memalign" brings ${made})
  string(COMPARE NOTEQUAL "${brings}" "" brings)
  own_parts_program(own_${made} own_malloc.c preload OWN_WRAPPER=1 OWN_MADE=${how}
    $<${brings}:OWN_MEMALIGN=1>)
endforeach()
# A program at fixed addresses may have one of its own for a function of ours.
own_parts_program(own_malloc_fixed own_malloc.c preload OWN_POOL=1 OWN_POSIX_MEMALIGN=1)
target_compile_options(own_malloc_fixed_preload PRIVATE -fno-pic -fno-pie)
target_link_options(own_malloc_fixed_preload PRIVATE -no-pie)

# own_parts_library(<name> <source>)
function(own_parts_library name source)
  add_library(${name} MODULE ${own_parts_source}/${source})
  target_compile_options(${name} PRIVATE ${support_flags} ${test_flags})
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX .so
    LIBRARY_OUTPUT_DIRECTORY ${own_parts_folder})
  target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

own_parts_library(plugin_part plugin_part.cc)
own_parts_library(plugin_start plugin_start.cc)
own_parts_program(cxx_plugin cxx_plugin.c preload)
add_dependencies(cxx_plugin_preload plugin_part plugin_start)
# With the C++ library of LLVM, where it is.
find_program(OWN_PARTS_CLANG clang++)
if(OWN_PARTS_CLANG)
  file(WRITE ${own_parts_folder}/libcxx.cc "#include <vector>\nint main() { return 0; }\n")
  execute_process(COMMAND ${OWN_PARTS_CLANG} -stdlib=libc++ ${own_parts_folder}/libcxx.cc
    -o ${own_parts_folder}/libcxx RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  if(status EQUAL 0)
    set(part ${own_parts_folder}/plugin_part_libcxx.so)
    add_custom_command(OUTPUT ${part} VERBATIM
      COMMAND ${OWN_PARTS_CLANG} -stdlib=libc++ -std=c++17 -O1 -fno-builtin -Wall -Wextra -Werror
        -shared -fPIC -iquote ${support} ${own_parts_source}/plugin_part.cc -o ${part}
      DEPENDS ${own_parts_source}/plugin_part.cc ${support}/check.h
        ${support}/probe.h)
    add_custom_target(plugin_part_libcxx DEPENDS ${part})
    add_dependencies(cxx_plugin_preload plugin_part_libcxx)
  else()
    message(STATUS "No libc++: cxx_plugin without it")
  endif()
endif()

# Only glibc has RTLD_DEEPBIND, and we take it out for these processors.
check_c_source_compiles(
  "#define _GNU_SOURCE
  #include <dlfcn.h>
  #if !defined(__x86_64__) && !defined(__aarch64__)
  #error
  #endif
  int main(void) { return RTLD_DEEPBIND + LM_ID_BASE == 0; }" MI_TEST_DEEPBIND)
if(MI_TEST_DEEPBIND)
  own_parts_library(deep_part deep_part.c)
  own_parts_library(deep_needed deep_needed.c)
  own_parts_library(deep_caller deep_caller.c)
  set_target_properties(deep_needed PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${own_parts_folder}/hidden)
  set_target_properties(deep_caller PROPERTIES BUILD_RPATH "$ORIGIN/hidden")
  target_link_options(deep_caller PRIVATE -Wl,--enable-new-dtags)
  foreach(link preload shared)
    own_parts_program(deepbind deepbind.c ${link})
    add_dependencies(deepbind_${link} deep_part deep_needed deep_caller)
  endforeach()
else()
  message(STATUS "Not part of this build (no RTLD_DEEPBIND, or another processor): deepbind")
endif()

foreach(program cxx_plugin_preload deepbind_preload deepbind_shared)
  if(TEST ${program})
    get_test_property(${program} ENVIRONMENT environment)
    if(NOT environment)
      set(environment "")
    endif()
    set_tests_properties(${program} PROPERTIES
      ENVIRONMENT "${environment};TEST_PARTS=${own_parts_folder}")
  endif()
endforeach()
