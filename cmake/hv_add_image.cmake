# SPDX-License-Identifier: BSD-2-Clause
# Images that boot on bare metal by Multiboot 1, Multiboot 2 and PVH.
include_guard(GLOBAL)
include(${CMAKE_CURRENT_LIST_DIR}/hv_verify.cmake)

set(HV_IMAGE_CMAKE_DIR ${CMAKE_CURRENT_LIST_DIR} CACHE INTERNAL "")
# The folder above kernel_glue/, in the checkout and installed.
foreach(root ${CMAKE_CURRENT_LIST_DIR}/.. ${CMAKE_CURRENT_LIST_DIR})
  if(EXISTS ${root}/kernel_glue/bare/image.ld)
    get_filename_component(root ${root} ABSOLUTE)
    set(HV_GLUE_ROOT ${root} CACHE INTERNAL "")
    break()
  endif()
endforeach()

# What all code of an image is compiled with.
function(hv_image_flags target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PUBLIC
    -ffreestanding -mno-red-zone -mcmodel=small -fno-pic -fno-pie -fno-stack-protector
    -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-strict-aliasing -fno-jump-tables -fno-omit-frame-pointer
    -fcf-protection=none -ffunction-sections -fdata-sections -mgeneral-regs-only
    $<$<CXX_COMPILER_ID:Clang>:-mx87> # or libstdc++'s inline long double functions do not compile
    $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-use-cxa-atexit>)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    target_compile_options(${target} PUBLIC -O2 -g)
  endif()
  target_include_directories(${target} PUBLIC ${HV_GLUE_ROOT})
  target_link_libraries(${target} PUBLIC hv::hv)
endfunction()

# The bare host as a library; one for all images of a project.
function(hv_bare_library)
  if(TARGET hv_bare)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${HV_GLUE_ROOT}/kernel_glue/bare/*.cpp ${HV_GLUE_ROOT}/kernel_glue/bare/*.S)
  add_library(hv_bare STATIC EXCLUDE_FROM_ALL ${sources})
  hv_image_flags(hv_bare)
  if(TARGET hv_warnings)
    target_link_libraries(hv_bare PRIVATE $<BUILD_INTERFACE:hv_warnings>)
  endif()
  target_link_options(hv_bare INTERFACE
    -nostdlib -static -Wl,-T,${HV_GLUE_ROOT}/kernel_glue/bare/image.ld -Wl,--gc-sections
    -Wl,-z,max-page-size=0x1000 -Wl,-z,noexecstack -Wl,--build-id=none $<$<CXX_COMPILER_ID:Clang>:-fuse-ld=lld>)
endfunction()

# hv_add_image(NAME SOURCES main.cpp …)                       the sources define image_main (kernel_glue/bare/image.hpp)
# hv_add_image(NAME MACHINE type HEADER header [SOURCES …])   image_main is made from cmake/image_main.cpp.in
# UNVERIFIED reason: without the test verify.NAME, which else shows that the image's hot path has no indirect branch.
function(hv_add_image name)
  cmake_parse_arguments(PARSE_ARGV 1 image "" "MACHINE;HEADER;UNVERIFIED" "SOURCES;LINK_LIBRARIES")
  if(image_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "hv_add_image(${name}): unknown arguments: ${image_UNPARSED_ARGUMENTS}")
  endif()
  if(image_MACHINE)
    if(NOT image_HEADER)
      message(FATAL_ERROR "hv_add_image(${name}): MACHINE needs the HEADER that defines it")
    endif()
    get_filename_component(image_HEADER ${image_HEADER} ABSOLUTE)
    configure_file(${HV_IMAGE_CMAKE_DIR}/image_main.cpp.in ${name}_main.cpp @ONLY)
    list(APPEND image_SOURCES ${CMAKE_CURRENT_BINARY_DIR}/${name}_main.cpp)
  elseif(NOT image_SOURCES)
    message(FATAL_ERROR "hv_add_image(${name}): SOURCES or MACHINE has to be given")
  endif()
  hv_bare_library()

  add_library(${name}_objects OBJECT ${image_SOURCES})
  target_link_libraries(${name}_objects PUBLIC hv_bare ${image_LINK_LIBRARIES})

  # Linked twice: the names for backtraces come from the first link, and are linked in behind all code.
  add_executable(${name}_unnamed EXCLUDE_FROM_ALL $<TARGET_OBJECTS:${name}_objects>)
  set(symbols ${CMAKE_CURRENT_BINARY_DIR}/${name}_symbols.S)
  add_custom_command(OUTPUT ${symbols}
    COMMAND ${CMAKE_NM} -n -C --defined-only $<TARGET_FILE:${name}_unnamed> | awk -f ${HV_IMAGE_CMAKE_DIR}/hv_symbols.awk > ${symbols}
    DEPENDS ${name}_unnamed ${HV_IMAGE_CMAKE_DIR}/hv_symbols.awk VERBATIM)
  add_executable(${name} $<TARGET_OBJECTS:${name}_objects> ${symbols})
  foreach(target ${name}_unnamed ${name})
    target_link_libraries(${target} PRIVATE hv_bare ${image_LINK_LIBRARIES})
    set_target_properties(${target} PROPERTIES
      LINKER_LANGUAGE CXX LINK_DEPENDS ${HV_GLUE_ROOT}/kernel_glue/bare/image.ld POSITION_INDEPENDENT_CODE OFF)
  endforeach()
  if(NOT TARGET hv_images)
    add_custom_target(hv_images)
  endif()
  add_dependencies(hv_images ${name})
  if(NOT image_UNVERIFIED)
    hv_verify_image(${name} IDT)
  endif()
endfunction()
