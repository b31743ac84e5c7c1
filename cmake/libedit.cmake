# Line editing of the REPL; without libedit it reads plain lines.
find_library(EDIT_LIBRARY edit)
find_path(EDIT_INCLUDE histedit.h)
if(EDIT_LIBRARY AND EDIT_INCLUDE)
  target_link_libraries(cnnc_driver PUBLIC ${EDIT_LIBRARY})
  target_include_directories(cnnc_driver PRIVATE ${EDIT_INCLUDE})
  target_compile_definitions(cnnc_driver PRIVATE CNNC_HAVE_LIBEDIT)
endif()
