# SPDX-License-Identifier: BSD-2-Clause
# find_package(hv) in another project: the library, the bare host with hv_add_image, and hv-verify where it was built.
if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_DATADIR}/hv)

install(TARGETS hv EXPORT hv_targets)
install(EXPORT hv_targets NAMESPACE hv:: DESTINATION ${package})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/hv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} 
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")

# The glue is compiled by whoever links an image, with the flags of hv_add_image.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/kernel_glue DESTINATION ${package} PATTERN CMakeLists.txt EXCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cmake/ DESTINATION ${package}
  PATTERN hv_install.cmake EXCLUDE PATTERN hvConfig.cmake.in EXCLUDE PATTERN hv_payload.cmake EXCLUDE)

if(TARGET hv_verify)
  install(TARGETS hv_verify RUNTIME OPTIONAL)
  install(FILES ${PROJECT_SOURCE_DIR}/codegen/rules.txt ${PROJECT_SOURCE_DIR}/codegen/cuts.txt DESTINATION ${package})
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/hvConfig.cmake.in ${PROJECT_BINARY_DIR}/package/hvConfig.cmake
  INSTALL_DESTINATION ${package} NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/hvConfigVersion.cmake COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/package/hvConfig.cmake ${PROJECT_BINARY_DIR}/package/hvConfigVersion.cmake
  DESTINATION ${package})
