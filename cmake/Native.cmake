# The Rust half (native/): one static library built by cargo, and the headers that cxx generates for it.
#
#   target_link_libraries(x tau_native)      #include "p2p/src/lib.rs.h"   "wasm/src/lib.rs.h"   "rust/cxx.h"
#
# cargo compiles into a cache folder of the user, outside the checkout, because the crates take eight minutes and 2 GB:
# the next clone on the same machine finds them there. The folder's name is a digest of what decides whether they fit:
# the checksums that Cargo.lock pins, and the compiler. Only p2p/libp2p/ and vm/wasmtime/ may link tau_native.
find_program(TAU_CARGO cargo REQUIRED DOC "cargo 1.88 or newer (make setup installs it)")
set(TAU_NATIVE_PROFILE release CACHE STRING "cargo profile of native/: release for development, dist for packages")

set(TAU_NATIVE_SOURCE ${CMAKE_SOURCE_DIR}/native)
set(TAU_NATIVE_OUT ${CMAKE_BINARY_DIR}/native)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${TAU_NATIVE_SOURCE}/Cargo.lock)

function(tau_native_target_folder out)
  get_filename_component(bin ${TAU_CARGO} DIRECTORY)
  find_program(TAU_RUSTC rustc HINTS ${bin} REQUIRED)
  execute_process(COMMAND ${TAU_RUSTC} --version OUTPUT_VARIABLE rustc OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  file(STRINGS ${TAU_NATIVE_SOURCE}/Cargo.lock pinned REGEX "^checksum = ")
  string(SHA256 digest "${rustc}\n${pinned}")
  string(SUBSTRING ${digest} 0 12 digest)
  if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
    set(cache $ENV{XDG_CACHE_HOME})
  else()
    set(cache $ENV{HOME}/.cache)
  endif()
  set(${out} ${cache}/tau/native-${digest} PARENT_SCOPE)
endfunction()
tau_native_target_folder(TAU_NATIVE_TARGET)
message(STATUS "native: cargo compiles into ${TAU_NATIVE_TARGET} (profile ${TAU_NATIVE_PROFILE})")

# A machine with clang-19 alone has no cc or no c++: give cargo ours then, and only then, so that the cache fits elsewhere, too.
find_program(TAU_CC cc)
find_program(TAU_CXX c++)
set(TAU_NATIVE_ENVIRONMENT CARGO_TARGET_DIR=${TAU_NATIVE_TARGET})
if(NOT TAU_CC)
  list(APPEND TAU_NATIVE_ENVIRONMENT CC=${CMAKE_C_COMPILER} RUSTFLAGS=-Clinker=${CMAKE_C_COMPILER})
endif()
if(NOT TAU_CXX)
  list(APPEND TAU_NATIVE_ENVIRONMENT CXX=${CMAKE_CXX_COMPILER})
endif()

set(TAU_NATIVE_HEADERS rust/cxx.h p2p/src/lib.rs.h wasm/src/lib.rs.h)
list(TRANSFORM TAU_NATIVE_HEADERS PREPEND ${TAU_NATIVE_OUT}/include/ OUTPUT_VARIABLE generated)
file(GLOB_RECURSE inputs CONFIGURE_DEPENDS ${TAU_NATIVE_SOURCE}/*.rs ${TAU_NATIVE_SOURCE}/*.h ${TAU_NATIVE_SOURCE}/*.toml)
add_custom_command(
  OUTPUT ${TAU_NATIVE_OUT}/libtau_native.a
  BYPRODUCTS ${generated}
  COMMAND ${CMAKE_COMMAND} -E env ${TAU_NATIVE_ENVIRONMENT}
    ${CMAKE_COMMAND} -DCARGO=${TAU_CARGO} -DPROFILE=${TAU_NATIVE_PROFILE} -DSOURCE=${TAU_NATIVE_SOURCE}
    -DTARGET=${TAU_NATIVE_TARGET} -DOUT=${TAU_NATIVE_OUT} -P ${CMAKE_SOURCE_DIR}/cmake/NativeBuild.cmake
  DEPENDS ${inputs} ${TAU_NATIVE_SOURCE}/Cargo.lock ${CMAKE_SOURCE_DIR}/cmake/NativeBuild.cmake
  DEPFILE ${TAU_NATIVE_OUT}/libtau_native.d
  COMMENT "cargo build (native/)" USES_TERMINAL VERBATIM)
add_custom_target(tau_native_build DEPENDS ${TAU_NATIVE_OUT}/libtau_native.a)

file(MAKE_DIRECTORY ${TAU_NATIVE_OUT}/include)
add_library(tau_native STATIC IMPORTED GLOBAL)
set_target_properties(tau_native PROPERTIES IMPORTED_LOCATION ${TAU_NATIVE_OUT}/libtau_native.a)
add_dependencies(tau_native tau_native_build)
target_include_directories(tau_native INTERFACE ${TAU_NATIVE_OUT}/include ${TAU_NATIVE_SOURCE}/p2p/include)
target_link_libraries(tau_native INTERFACE Threads::Threads dl m rt util gcc_s)
