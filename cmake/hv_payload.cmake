# SPDX-License-Identifier: BSD-2-Clause
# Small guests and the tests that run them.
include_guard(GLOBAL)

# hv_add_payload(NAME source.S): real-mode code for 0000:7c00, as NAME.bin beside the images.
function(hv_add_payload name source)
  add_executable(${name} ${source})
  target_compile_options(${name} PRIVATE -ffreestanding -fno-pic)
  target_link_options(${name} PRIVATE -nostdlib -static -Wl,-Ttext=0x7c00 -Wl,--build-id=none
    $<$<CXX_COMPILER_ID:Clang>:-fuse-ld=lld>)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND ${CMAKE_OBJCOPY} -O binary -j .text $<TARGET_FILE:${name}> $<TARGET_FILE:${name}>.bin VERBATIM)
endfunction()

# hv_add_guest_test(NAME MACHINE machine PAYLOAD payload [STATUS n] [EXPECT text] [LABELS label...])
# The payload runs on the machine's image and ends with the status, having printed the text.
function(hv_add_guest_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "MACHINE;PAYLOAD;STATUS;EXPECT" "LABELS")
  if(NOT HV_TESTS)
    return()
  endif()
  if(NOT DEFINED test_STATUS)
    set(test_STATUS 0)
  endif()
  if(NOT test_LABELS)
    set(test_LABELS guest)
  endif()
  add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/guests/expect_run.sh ${test_STATUS} "${test_EXPECT}"
    $<TARGET_FILE:${test_MACHINE}> $<TARGET_FILE:${test_PAYLOAD}>.bin)
  set_tests_properties(${name} PROPERTIES LABELS "${test_LABELS}" TIMEOUT 60)
endfunction()
