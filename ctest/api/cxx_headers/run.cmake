# Runs each of PROGRAMS, and fails when one of them does.
foreach(program IN LISTS PROGRAMS)
  message(STATUS "${program}")
  execute_process(COMMAND ${program} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(SEND_ERROR "${program}: ${status}")
  endif()
endforeach()
