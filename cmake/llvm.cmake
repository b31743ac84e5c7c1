# LLVM 19 is the primary version; 20 to 22 build too. Only codegen knows it.
find_program(LLVM_CONFIG NAMES llvm-config-19 llvm-config-20 llvm-config-21 llvm-config-22
             HINTS /usr/lib/llvm-19/bin /usr/lib/llvm-20/bin /usr/lib/llvm-21/bin /usr/lib/llvm-22/bin REQUIRED)
execute_process(COMMAND ${LLVM_CONFIG} --includedir OUTPUT_VARIABLE llvm_include OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --link-shared --libs OUTPUT_VARIABLE llvm_libs OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --ldflags OUTPUT_VARIABLE llvm_ldflags OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(llvm_libs)
separate_arguments(llvm_ldflags)
find_package(Threads REQUIRED)
target_include_directories(cnnc_codegen SYSTEM PRIVATE ${llvm_include})
target_link_libraries(cnnc_codegen PUBLIC cnnrt ${llvm_ldflags} ${llvm_libs} Threads::Threads)
target_compile_definitions(cnnc_codegen PRIVATE CNNC_RUNTIME_ARCHIVE="${CMAKE_BINARY_DIR}/libcnnrt.a")
