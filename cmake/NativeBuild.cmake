# Runs cargo, then copies what it made into the build folder: several clones share cargo's folder, so nothing in the build
# may point into it. Files that did not change keep their time, and ninja then stops there.
execute_process(COMMAND ${CARGO} build --locked --profile ${PROFILE} --lib --package tau-native --quiet
  WORKING_DIRECTORY ${SOURCE} RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "cargo build failed in native/ (target folder ${TARGET})")
endif()

file(GLOB_RECURSE headers RELATIVE ${TARGET}/cxxbridge ${TARGET}/cxxbridge/*.h)
foreach(header IN LISTS headers)
  if(header MATCHES "^(rust|p2p/src|wasm/src)/")
    configure_file(${TARGET}/cxxbridge/${header} ${OUT}/include/${header} COPYONLY)
  endif()
endforeach()
execute_process(COMMAND ${CMAKE_COMMAND} -E copy_if_different ${TARGET}/${PROFILE}/libtau_native.a ${OUT}/libtau_native.a
  COMMAND_ERROR_IS_FATAL ANY)

# cargo's own list of the files it read, with our copy as the target.
file(READ ${TARGET}/${PROFILE}/libtau_native.d rules)
string(REGEX REPLACE "^[^:]*:" "${OUT}/libtau_native.a:" rules "${rules}")
file(WRITE ${OUT}/libtau_native.d "${rules}")
