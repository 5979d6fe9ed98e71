# The attacks on secure mode, see run: a sample of the product, whose full run is a step of
# `ci/run full`. Secure builds must catch what attacks/expected.toml records and keep what attacks/rules.toml
# promises; a build without secure mode must fail the same gate, which shows that it can fail.
#
# Included at the end of CMakeLists.txt.
find_package(Python3 3.11 COMPONENTS Interpreter)
if(MI_OVERRIDE AND NOT MI_DEBUG_FULL AND Python3_FOUND AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  test_program(attack attacks/attack.c attacks/entries.c attacks/kinds.c)
  set(attacks_gate --check)
  if(NOT MI_SECURE)
    set(attacks_gate --self-test)
  endif()
  add_test(NAME attacks COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/run --quick
    ${attacks_gate} --library $<TARGET_FILE:mimalloc> --program $<TARGET_FILE:attack>)
  set_tests_properties(attacks PROPERTIES LABELS preload TIMEOUT 300)
  if(MI_SECURE)
    # Once more where guards are mappings of their own, as they were before Linux 6.13.
    add_test(NAME attacks_without_guards COMMAND ${Python3_EXECUTABLE}
      ${CMAKE_CURRENT_LIST_DIR}/run --quick ${attacks_gate} --without-guards
      --library $<TARGET_FILE:mimalloc> --program $<TARGET_FILE:attack>)
    set_tests_properties(attacks_without_guards PROPERTIES LABELS preload TIMEOUT 300)
  endif()
else()
  message(STATUS "Not part of this build (sanitizer, debug or no Python 3.11): attacks")
endif()
