# SPDX-License-Identifier: BSD-2-Clause
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGV}: status ${status}\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${FOLDER})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${FOLDER}/prefix)

# Nothing that is installed may point back into the checkout or the build.
file(GLOB_RECURSE scripts ${FOLDER}/prefix/*.cmake)
get_filename_component(checkout ${SOURCE}/../../.. ABSOLUTE)
foreach(script ${scripts})
  file(READ ${script} text)
  foreach(path ${BUILD} ${checkout})
    string(FIND "${text}" "${path}" found)
    if(NOT found EQUAL -1)
      message(FATAL_ERROR "${script} names ${path}")
    endif()
  endforeach()
endforeach()

run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${FOLDER}/build -DCMAKE_PREFIX_PATH=${FOLDER}/prefix
  -DVERSION=${VERSION} -DCMAKE_C_COMPILER=${C} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_ASM_COMPILER=${C})
run(${CMAKE_COMMAND} --build ${FOLDER}/build)
run(${CMAKE_CTEST_COMMAND} --test-dir ${FOLDER}/build --no-tests=error)
