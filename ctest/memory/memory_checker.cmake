# What memory checkers find in blocks of ours: memory_checker.c with the library built for each of them, run
# once for each fault, and once without one.
#   cmake -P memory_checker.cmake with PROGRAM, RUNNER (list, may be empty), FAULTS
foreach(fault clean ${FAULTS})
  execute_process(COMMAND ${RUNNER} ${PROGRAM} ${fault} RESULT_VARIABLE result
    OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(fault STREQUAL "clean" AND NOT result EQUAL 0)
    message(FATAL_ERROR "a finding where there is nothing to find:\n${out}")
  elseif(NOT fault STREQUAL "clean" AND result EQUAL 0)
    message(SEND_ERROR "not found: ${fault}\n${out}")
  elseif(NOT fault STREQUAL "clean" AND NOT out MATCHES "${EXPECT}")
    message(SEND_ERROR "ended by something else than the checker: ${fault}\n${out}")
  else()
    message(STATUS "${fault}: as it should be")
  endif()
endforeach()
