# tr_layer(NAME SOURCES ... LIBS ...): the OBJECT library tr_NAME of one folder of src/.
function(tr_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_library(tr_${name} OBJECT ${ARG_SOURCES})
  target_link_libraries(tr_${name} PUBLIC tr_flags PRIVATE ${ARG_LIBS})
  set_property(GLOBAL APPEND PROPERTY TR_LAYERS tr_${name})
  # what an executable that links this layer's objects needs
  set_property(GLOBAL PROPERTY TR_LIBS_${name} "${ARG_LIBS}")
endfunction()

# tr_use(TARGET layer...): link the objects of layers, and their libraries, into TARGET.
function(tr_use target)
  foreach(layer ${ARGN})
    get_property(libs GLOBAL PROPERTY TR_LIBS_${layer})
    target_link_libraries(${target} PRIVATE tr_${layer} ${libs})
  endforeach()
  target_link_libraries(${target} PRIVATE tr_flags Threads::Threads m)
endfunction()

# tr_unit_test(FILE layer...): FILE is x_test.c in the current folder; the ctest is named <folder>/x.
function(tr_unit_test file)
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  string(REGEX REPLACE "_test\\.c$" "" noun ${file})
  set(target unit_${folder}_${noun})
  add_executable(${target} ${file})
  tr_use(${target} ${ARGN})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit)
  target_link_libraries(${target} PRIVATE PkgConfig::cmocka)
  add_test(NAME unit/${folder}/${noun} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(unit/${folder}/${noun} PROPERTIES TIMEOUT 120)
endfunction()

# tr_fuzz_target(NAME layer...): NAME_fuzz.c in tests/fuzz. With TR_FUZZ it is a libFuzzer binary; without,
# the same file is linked with replay.c and its corpus (tests/fuzz/corpus/NAME) runs as an ordinary ctest.
function(tr_fuzz_target name)
  set(target fuzz_${name})
  if(TR_FUZZ)
    add_executable(${target} ${name}_fuzz.c)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${target} ${name}_fuzz.c replay.c)
    add_test(NAME fuzz/${name} COMMAND ${target} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name}
             WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(fuzz/${name} PROPERTIES TIMEOUT 120)
  endif()
  tr_use(${target} ${ARGN})
endfunction()
