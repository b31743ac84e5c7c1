# The program, and libcnnc, the compiler as a library. main.c and api.c are no part of the driver library, so that tests can link it.
get_target_property(driver_sources cnnc_driver SOURCES)
list(FILTER driver_sources EXCLUDE REGEX "/(main|api)\\.c$")
set_target_properties(cnnc_driver PROPERTIES SOURCES "${driver_sources}")
add_executable(cnnc driver/main.c)
target_link_libraries(cnnc cnnc_driver)
set_target_properties(cnnc PROPERTIES LLVM_STATIC ON)
target_compile_definitions(cnnc_driver PRIVATE CNNC_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
set_target_properties(cnnc PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# It exports what cnnc.h declares and takes LLVM as a shared library: a host may use LLVM too.
add_library(libcnnc SHARED driver/api.c)
set_target_properties(libcnnc PROPERTIES OUTPUT_NAME cnnc VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} PUBLIC_HEADER driver/cnnc.h
                      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} EXPORT_NAME libcnnc)
target_link_libraries(libcnnc PRIVATE cnnc_driver ${CMAKE_DL_LIBS})
target_link_options(libcnnc PRIVATE -Wl,--exclude-libs,ALL)

include(GNUInstallDirs)
install(TARGETS cnnc DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS libcnnc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES $<TARGET_FILE:cnnrt> DESTINATION lib/cnnc)
