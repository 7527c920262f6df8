# SPDX-License-Identifier: BSD-2-Clause
# One header that compiles alone and one that does not: the second must be named, also when asked again.
file(REMOVE_RECURSE ${FOLDER})
file(WRITE ${FOLDER}/hv/whole.hpp "#pragma once\nstruct whole {};\n")
file(WRITE ${FOLDER}/hv/leaning.hpp "#pragma once\nstruct leaning { whole part; };\n")
foreach(words "2 headers, 2 compiled, 1 failed" "2 headers, 1 compiled, 1 failed")
  execute_process(COMMAND ${PYTHON} -B ${SCRIPT} --include ${FOLDER} --memory ${FOLDER}/memory.json -- ${COMPILER} -std=c++20
    OUTPUT_VARIABLE said RESULT_VARIABLE status)
  if(NOT status EQUAL 1 OR NOT said MATCHES "^hv/leaning.hpp does not compile alone" OR NOT said MATCHES "${words}")
    message(FATAL_ERROR "status ${status}: ${said}")
  endif()
endforeach()
