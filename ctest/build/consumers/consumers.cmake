# Small projects that use the library as c_src/README.md says, and each option of its build. They
# build the library themselves, so the options of this build would only make them slower.
if(MI_SANITIZE OR MI_DEBUG_FULL)
  message(STATUS "Not part of this build (sanitizer or debug): consumers")
  return()
endif()

set(consumer_parts install find_package source options)
find_program(PKG_CONFIG_PROGRAM pkg-config)
if(PKG_CONFIG_PROGRAM)
  list(APPEND consumer_parts pkg_config)
else()
  message(STATUS "Not part of this build (pkg-config is not installed): consumers_pkg_config")
endif()

foreach(part IN LISTS consumer_parts)
  add_test(NAME consumers_${part} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run
    ${CMAKE_CURRENT_BINARY_DIR}/consumers ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER} ${part})
  set_tests_properties(consumers_${part} PROPERTIES LABELS consumers TIMEOUT 600 PROCESSORS 2
    ENVIRONMENT "CMAKE=${CMAKE_COMMAND};CMAKE_GENERATOR=${CMAKE_GENERATOR}")
endforeach()
# What `install` makes is used by these.
set_tests_properties(consumers_install PROPERTIES FIXTURES_SETUP installed)
foreach(part find_package pkg_config)
  if(part IN_LIST consumer_parts)
    set_tests_properties(consumers_${part} PROPERTIES FIXTURES_REQUIRED installed)
  endif()
endforeach()
