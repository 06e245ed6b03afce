# The two libraries that are installed, both made of the objects of the folder targets:
#   runnel_static  librunnel.a                     runnel_shared  librunnel.so, exports runnel_* only
# and the install rules: header, libraries, CMake package, runnel.pc, program, demo model.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Links to third-party libraries of all folder targets (runnel_* and header-only ones left out).
function(runnel_external_links folders out)
  set(links)
  foreach(folder ${folders})
    get_target_property(folder_links ${folder} LINK_LIBRARIES)
    foreach(link ${folder_links})
      if(link AND NOT link MATCHES "^runnel_|^nlohmann_json|::@")
        list(APPEND links ${link})
      endif()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES links)
  set(${out} ${links} PARENT_SCOPE)
endfunction()

# Linker names of third-party targets: PkgConfig::PCRE2 -> pcre2-8. A library outside the linker's
# own folders keeps its full path.
function(runnel_link_names links out)
  set(names)
  foreach(link ${links})
    set(files ${link})
    if(TARGET ${link})
      get_target_property(files ${link} INTERFACE_LINK_LIBRARIES)
      get_target_property(location ${link} IMPORTED_LOCATION)
      list(APPEND files ${location})
    endif()
    foreach(file ${files})
      get_filename_component(folder ${file} DIRECTORY)
      get_filename_component(base ${file} NAME_WE)
      string(REGEX REPLACE "^lib" "" base ${base})
      if(NOT file OR file MATCHES "NOTFOUND$|^-pthread|^Threads::")
        continue()
      elseif(NOT IS_ABSOLUTE ${file})
        list(APPEND names ${file})
      elseif(folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES OR folder IN_LIST CMAKE_SYSTEM_LIBRARY_PATH)
        list(APPEND names ${base})
      else()
        list(APPEND names ${file})
      endif()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES names)
  set(${out} ${names} PARENT_SCOPE)
endfunction()

# Makes runnel_static and runnel_shared. Does nothing while the C API has no source.
function(runnel_library)
  get_property(folders GLOBAL PROPERTY RUNNEL_FOLDERS)
  list(REMOVE_ITEM folders runnel_converters) # used by the program only
  if(NOT runnel_api IN_LIST folders)
    return()
  endif()
  set(objects)
  foreach(folder ${folders})
    list(APPEND objects $<TARGET_OBJECTS:${folder}>)
  endforeach()
  get_property(made_objects GLOBAL PROPERTY RUNNEL_OBJECTS) # by other compilers than CMake's
  list(APPEND objects ${made_objects})
  runnel_external_links("${folders}" links)
  runnel_link_names("${links}" names)
  set_property(GLOBAL PROPERTY RUNNEL_LINK_NAMES ${names})

  add_library(runnel_static STATIC ${objects})
  add_library(runnel_shared SHARED ${objects})
  if(TARGET runnel_cuda)
    add_dependencies(runnel_static runnel_cuda)
    add_dependencies(runnel_shared runnel_cuda)
  endif()
  foreach(kind static shared)
    target_include_directories(runnel_${kind} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    set_target_properties(runnel_${kind} PROPERTIES
      OUTPUT_NAME runnel EXPORT_NAME ${kind} LINKER_LANGUAGE CXX)
  endforeach()
  # Users of the installed static library may be C programs: they get the C++ runtime by name.
  target_link_libraries(runnel_static INTERFACE
    "$<BUILD_INTERFACE:${links}>" "$<INSTALL_INTERFACE:${names};Threads::Threads;stdc++;m>")
  set(map ${PROJECT_SOURCE_DIR}/cmake/runnel.map)
  target_link_libraries(runnel_shared PRIVATE ${links})
  target_link_options(runnel_shared PRIVATE -Wl,--version-script=${map})
  if(NOT RUNNEL_SANITIZE)
    target_link_options(runnel_shared PRIVATE -Wl,--no-undefined)
  endif()
  set_target_properties(runnel_shared PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${map})
endfunction()

function(runnel_install)
  if(NOT TARGET runnel_static)
    return()
  endif()
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/Runnel)
  install(TARGETS runnel_static runnel_shared EXPORT RunnelTargets)
  install(FILES ${PROJECT_SOURCE_DIR}/runtime/api/runnel.h TYPE INCLUDE)
  install(EXPORT RunnelTargets NAMESPACE runnel:: DESTINATION ${package})
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/RunnelConfig.cmake.in ${PROJECT_BINARY_DIR}/RunnelConfig.cmake
    INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO)
  write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/RunnelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/RunnelConfig.cmake
    ${PROJECT_BINARY_DIR}/RunnelConfigVersion.cmake DESTINATION ${package})

  get_property(names GLOBAL PROPERTY RUNNEL_LINK_NAMES)
  list(TRANSFORM names PREPEND -l REGEX "^[^/]")
  list(JOIN names " " RUNNEL_PC_PRIVATE)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/runnel.pc.in ${PROJECT_BINARY_DIR}/runnel.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/runnel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

  if(TARGET runnel)
    install(TARGETS runnel)
  endif()
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/runnel
    FILES_MATCHING PATTERN *.gguf)
endfunction()
