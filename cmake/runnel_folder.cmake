# One target per folder. A new .cc file needs no edit here: the folder is globbed at every build.

function(runnel_warnings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra $<$<COMPILE_LANGUAGE:CXX>:-Wconversion> $<$<BOOL:${RUNNEL_WERROR}>:-Werror>)
  # g++ 12 sees an overlap in "text" + std::string that is not there (GCC bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
endfunction()

# runnel_folder(NAME dep...): static library runnel_NAME from the *.cc files of the current folder.
# Its objects are collected into the library that is installed (runnel_library.cmake).
function(runnel_folder name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cc)
  if(sources)
    set_property(GLOBAL APPEND PROPERTY RUNNEL_FOLDERS runnel_${name})
  else()
    set(sources ${PROJECT_BINARY_DIR}/empty.cc) # a folder with headers only
    if(NOT EXISTS ${sources})
      file(TOUCH ${sources})
    endif()
  endif()
  add_library(runnel_${name} STATIC EXCLUDE_FROM_ALL ${sources})
  target_include_directories(runnel_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(runnel_${name} PUBLIC ${ARGN})
  runnel_warnings(runnel_${name})
endfunction()
