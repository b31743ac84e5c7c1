# Tests that run the program wait for it.
foreach(name test_programs test_generate)
  if(TARGET ${name} AND TARGET cnnc)
    add_dependencies(${name} cnnc)
  endif()
endforeach()

# Fuzzing. `bits_T` tries truncations and bit flips of small files, `fuzz_T` (preset fuzz, with clang) is
# libFuzzer's: build/fuzz/fuzz_program -dict=tests/fuzz/cnn.dict -max_total_time=600 CORPUS tests/golden/check
set(fuzz_format_helpers tests/fuzz/layout.c)
foreach(target program format data)
  add_executable(bits_${target} tests/fuzz/bits.c tests/fuzz/target_${target}.c ${fuzz_${target}_helpers})
  target_link_libraries(bits_${target} cnnc_driver cnnc_frontend cnnc_passes cnnc_codegen cnnc_ir cnnc_base)
  if(CNNC_FUZZ)
    add_executable(fuzz_${target} tests/fuzz/target_${target}.c ${fuzz_${target}_helpers})
    target_link_libraries(fuzz_${target} cnnc_driver cnnc_frontend cnnc_passes cnnc_codegen cnnc_ir cnnc_base)
    target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
  endif()
endforeach()
file(GLOB damaged ${CMAKE_SOURCE_DIR}/tests/golden/lang/*.cnn ${CMAKE_SOURCE_DIR}/tests/programs/s*.cnn)
add_test(NAME damaged_programs COMMAND bits_program --every=37 ${damaged})
add_test(NAME damaged_layout COMMAND bits_format --every=11 ${damaged})
