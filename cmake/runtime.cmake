# What compiled libraries are linked with: libc and libm only, position independent, sections that can be dropped. Its
# bytes are part of every .so, so it is built the same way whatever the preset.
file(GLOB runtime_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/*.c)
add_library(cnnrt STATIC ${runtime_sources})
target_link_libraries(cnnrt PUBLIC m)
set_target_properties(cnnrt PROPERTIES POSITION_INDEPENDENT_CODE ON ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
# gcc vectorises loops of unknown length at -O3 only; no value changes.
set_source_files_properties(${CMAKE_SOURCE_DIR}/runtime/rt_linalg.c PROPERTIES COMPILE_OPTIONS -O3)
target_compile_options(cnnrt PRIVATE -O2 -fvisibility=hidden -ffunction-sections -fno-stack-protector -fno-sanitize=all -g0
                       -U_FORTIFY_SOURCE)
