# SPDX-License-Identifier: BSD-2-Clause
# cmake -DFORMAT=program -DSOURCE=checkout -P format.cmake: every C and C++ file that git tracks is formatted.
execute_process(COMMAND git -C ${SOURCE} ls-files -- *.hpp *.cpp *.h *.c
  OUTPUT_VARIABLE listed RESULT_VARIABLE status OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT status EQUAL 0 OR listed STREQUAL "")
  message(FATAL_ERROR "git names no sources in ${SOURCE}")
endif()
string(REPLACE "\n" ";" sources "${listed}")
list(FILTER sources EXCLUDE REGEX "^tests/frozen/")
execute_process(COMMAND ${FORMAT} --dry-run -Werror ${sources} WORKING_DIRECTORY ${SOURCE} RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "not formatted: ${FORMAT} -i on the files named above")
endif()
