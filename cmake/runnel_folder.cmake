# runnel_folder(NAME dep...): static library runnel_NAME from the *.cc files of the current folder.
# Its objects are collected into the library that is installed.
function(runnel_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion $<$<BOOL:${RUNNEL_WERROR}>:-Werror>)
endfunction()

function(runnel_folder name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cc)
  if(NOT sources)
    add_library(runnel_${name} INTERFACE)
    target_link_libraries(runnel_${name} INTERFACE ${ARGN})
    return()
  endif()
  add_library(runnel_${name} STATIC EXCLUDE_FROM_ALL ${sources})
  target_include_directories(runnel_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(runnel_${name} PUBLIC ${ARGN})
  runnel_warnings(runnel_${name})
  set_property(GLOBAL APPEND PROPERTY RUNNEL_FOLDERS runnel_${name})
endfunction()
