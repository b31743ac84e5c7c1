
# Readers and writers.
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_library(JANSSON_LIBRARY jansson REQUIRED)
target_link_libraries(cnnc_driver PUBLIC ZLIB::ZLIB PNG::PNG ${JANSSON_LIBRARY})
