# Embeds frontend/prelude.cnn as `frontend_prelude`, a string literal a line, so that no tool but CMake is needed.
set(prelude_source ${CMAKE_SOURCE_DIR}/frontend/prelude.cnn)
set(prelude_c ${CMAKE_BINARY_DIR}/prelude.c)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${prelude_source})
file(READ ${prelude_source} text)
string(REPLACE "\\" "\\\\" text "${text}")
string(REPLACE "\"" "\\\"" text "${text}")
string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
file(WRITE ${prelude_c}.new
  "#include \"frontend/frontend.h\"\n\nconst char frontend_prelude[] =\n    \"${text}\";\n"
  "const size_t frontend_prelude_len = sizeof frontend_prelude - 1;\n")
execute_process(COMMAND ${CMAKE_COMMAND} -E copy_if_different ${prelude_c}.new ${prelude_c})
target_sources(cnnc_frontend PRIVATE ${prelude_c})
