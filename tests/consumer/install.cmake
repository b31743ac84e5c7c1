# cmake -DBUILD=.. -DSOURCE=.. -DGENERATOR=.. -P install.cmake: installs to a prefix of its own, builds this project against that and runs it.
set(work ${BUILD}/consumer)
file(REMOVE_RECURSE ${work})
function(run)
  cmake_parse_arguments(arg "" "IN" "" ${ARGN})
  execute_process(COMMAND ${arg_UNPARSED_ARGUMENTS} WORKING_DIRECTORY ${arg_IN} RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE err)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${arg_UNPARSED_ARGUMENTS}: ${status}\n${out}${err}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()
file(MAKE_DIRECTORY ${work})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix IN ${work})
run(${CMAKE_COMMAND} -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${work}/prefix -DCMAKE_C_COMPILER=${COMPILER} -S ${SOURCE} -B ${work}/build IN ${work})
run(${CMAKE_COMMAND} --build ${work}/build IN ${work})
run(${work}/build/fit IN ${work})
if(NOT out MATCHES "a 1.0600 b 1.9600 phi 0.666667")
  message(FATAL_ERROR "fit printed ${out}")
endif()
run(${work}/build/embed IN ${work})

# Where there is pkg-config: the same library by hand, a generated archive alone, and the make rule's object with the runtime.
find_program(pkg_config pkg-config)
if(pkg_config)
  file(GLOB_RECURSE pc ${work}/prefix/*cnnc.pc)
  get_filename_component(folder ${pc} DIRECTORY)
  set(ENV{PKG_CONFIG_PATH} ${folder})
  run(sh -ec "cnnc=$(pkg-config --variable=cnnc cnnc) runtime=$(pkg-config --variable=runtime cnnc)
    ${COMPILER} ${SOURCE}/embed.c $(pkg-config --cflags --libs cnnc) -lm -Wl,-rpath,$(pkg-config --variable=libdir cnnc) -o embed
    ./embed
    $cnnc ${SOURCE}/line.cnn -o line.a
    $cnnc ${SOURCE}/coin.cnn -o coin.o -o coin.h
    ${COMPILER} -I. ${SOURCE}/fit.c line.a coin.o $runtime -lm -o fit
    ./fit" IN ${work})
endif()

# An archive is the same bytes wherever and whenever it is made.
run(${work}/prefix/bin/cnnc ${SOURCE}/line.cnn -o again.a IN ${work})
run(${CMAKE_COMMAND} -E rename again.a line.a IN ${work})
run(${work}/prefix/bin/cnnc ${SOURCE}/line.cnn -o again.a IN ${work})
run(${CMAKE_COMMAND} -E compare_files again.a line.a IN ${work})
file(REMOVE_RECURSE ${work})
