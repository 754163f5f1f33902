# Runs cargo, then copies what it made into the build folder: several clones share cargo's folder, so nothing in the build
# may point into it. Files that did not change keep their time, and ninja then stops there.
file(LOCK ${TARGET} DIRECTORY GUARD PROCESS)

# cargo compares times, and those of another clone's sources may be older than what was made of ours: our own crates are
# compiled anew when what they are made of is not what was compiled last.
file(GLOB_RECURSE sources LIST_DIRECTORIES false ${SOURCE}/*.rs ${SOURCE}/*.toml ${SOURCE}/*.h ${SOURCE}/Cargo.lock)
list(FILTER sources EXCLUDE REGEX "/target/")
set(digests "")
foreach(source IN LISTS sources)
  file(SHA256 ${source} digest)
  file(RELATIVE_PATH name ${SOURCE} ${source})
  string(APPEND digests "${digest} ${name}\n")
endforeach()
string(SHA256 digest "${digests}")
set(last "")
if(EXISTS ${TARGET}/${PROFILE}/sources)
  file(READ ${TARGET}/${PROFILE}/sources last)
endif()
if(NOT last STREQUAL digest)
  file(GLOB ours ${TARGET}/${PROFILE}/.fingerprint/tau-native-* ${TARGET}/${PROFILE}/.fingerprint/p2p-*
    ${TARGET}/${PROFILE}/.fingerprint/swarm-* ${TARGET}/${PROFILE}/.fingerprint/wasm-*)
  if(ours)
    file(REMOVE_RECURSE ${ours})
  endif()
  file(REMOVE ${TARGET}/${PROFILE}/sources)
endif()

execute_process(COMMAND ${CARGO} build --locked --profile ${PROFILE} --lib --package tau-native --quiet
  WORKING_DIRECTORY ${SOURCE} RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "cargo build failed in native/ (target folder ${TARGET})")
endif()
file(WRITE ${TARGET}/${PROFILE}/sources "${digest}")

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
