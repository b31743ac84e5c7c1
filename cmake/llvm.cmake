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

# The program itself takes LLVM's archives where they are installed: relocating the shared library is most of its start. Tests
# share it, as does whoever says -DCNNC_STATIC_LLVM=OFF. A consumer with the property LLVM_STATIC gets the archives.
option(CNNC_STATIC_LLVM "link the program with LLVM's static libraries where there are any" ON)
add_library(llvm_shared INTERFACE)
target_link_libraries(llvm_shared INTERFACE ${llvm_ldflags} ${llvm_libs})
add_library(llvm_static INTERFACE)
set(llvm_parts x86 aarch64 orcjit bitwriter perfjitevents)
execute_process(COMMAND ${LLVM_CONFIG} --link-static --libfiles ${llvm_parts} OUTPUT_VARIABLE llvm_archives
                OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE llvm_missing ERROR_QUIET)
execute_process(COMMAND ${LLVM_CONFIG} --link-static --system-libs ${llvm_parts} OUTPUT_VARIABLE llvm_system
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
separate_arguments(llvm_archives)
separate_arguments(llvm_system)
foreach(lib ${llvm_system}) # some are there without their development package; z3 is a path
  get_filename_component(name ${lib} NAME)
  string(REGEX REPLACE "^(-l|lib)" "" name ${name})
  string(REGEX REPLACE "\\.so$" "" name ${name})
  find_library(llvm_lib_${name} NAMES ${name} lib${name}.so.1 lib${name}.so.2 lib${name}.so.4)
  if(llvm_lib_${name})
    list(APPEND llvm_archives ${llvm_lib_${name}})
  endif()
endforeach()
find_library(llvm_cxx NAMES stdc++ libstdc++.so.6) # the shared library needs it, a C compiler alone has no link to it
include(CheckCSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES -Wl,--as-needed ${llvm_archives} ${llvm_cxx} m Threads::Threads)
if(CNNC_STATIC_LLVM AND llvm_missing EQUAL 0)
  check_c_source_compiles("void *LLVMCreatePerfJITEventListener(void); void LLVMInitializeX86TargetInfo(void); void *LLVMOrcCreateLLJIT(void);
    int main(void) { LLVMInitializeX86TargetInfo(); return !LLVMCreatePerfJITEventListener() + !LLVMOrcCreateLLJIT; }" CNNC_LLVM_ARCHIVES)
endif()
if(CNNC_STATIC_LLVM AND CNNC_LLVM_ARCHIVES)
  target_link_libraries(llvm_static INTERFACE ${CMAKE_REQUIRED_LIBRARIES})
else()
  target_link_libraries(llvm_static INTERFACE llvm_shared)
endif()
unset(CMAKE_REQUIRED_LIBRARIES)
target_link_libraries(cnnc_codegen PUBLIC cnnrt $<IF:$<BOOL:$<TARGET_PROPERTY:LLVM_STATIC>>,llvm_static,llvm_shared> Threads::Threads)
target_compile_definitions(cnnc_codegen PRIVATE CNNC_RUNTIME_ARCHIVE="${CMAKE_BINARY_DIR}/libcnnrt.a")
