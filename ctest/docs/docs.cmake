# The documents: what they say is compared with the code, and their programs are run.
#
# Included at the end of CMakeLists.txt.
get_filename_component(docs_root ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/docs)

function(docs_test name)
  add_test(NAME docs_${name} COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root}
    -DINCLUDE=${docs_root}/c_src/include -DWORK=${CMAKE_CURRENT_BINARY_DIR}/docs ${ARGN}
    -P ${CMAKE_CURRENT_LIST_DIR}/${name}.cmake)
  set_tests_properties(docs_${name} PROPERTIES LABELS quick TIMEOUT 120)
endfunction()

library_test(api/errno_table)
docs_test(errno -DPROGRAM=$<TARGET_FILE:errno_table> -DDOCS=${docs_root}/docs/guarantees.md)

library_test(api/compat)
docs_test(tests)
docs_test(failures)
add_test(NAME docs_failures_are_noticed COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DCOUNT=127
  -P ${CMAKE_CURRENT_LIST_DIR}/failures.cmake)
set_tests_properties(docs_failures_are_noticed PROPERTIES LABELS quick TIMEOUT 60
  PASS_REGULAR_EXPRESSION "known failures and reasons, not 127")

# The example programs expect the library's malloc.
if(MI_OVERRIDE)
  docs_test(examples -DCC=${CMAKE_C_COMPILER} -DCXX=${CMAKE_CXX_COMPILER}
    -DLIBRARY=$<TARGET_FILE:mimalloc-static>)
else()
  message(STATUS "Not part of this build (sanitizer): docs_examples")
endif()

find_program(MANDOC mandoc)
if(MANDOC)
  add_test(NAME docs_man COMMAND ${MANDOC} -Tlint -Wwarning ${docs_root}/docs/man/mimalloc.3)
  set_tests_properties(docs_man PROPERTIES LABELS quick TIMEOUT 60)
else()
  message(STATUS "Not part of this build (mandoc is missing): docs_man")
endif()
