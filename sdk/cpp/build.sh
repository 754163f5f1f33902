# Sourced by a function's .taubyte/build.sh (as /utils/wasm.sh): defines `build`, which compiles the
# C++ sources of $SRC into $OUT/main.wasm. POSIX sh.
#
#   SRC       the repository folder with the function's sources          (default /src)
#   OUT       where main.wasm goes                                       (default /out)
#   TAU_SDK   the folder that holds abi/ and cpp/                        (default /opt/tau/sdk)
#   CXX       the compiler, clang with its wasm32-wasi libraries         (default clang++-19)
#   CXXFLAGS  added after ours

build() {
  src=${SRC:-/src}
  out=${OUT:-/out}
  sdk=${TAU_SDK:-/opt/tau/sdk}
  if [ ! -f "$sdk/cpp/include/tau/http.h" ]; then
    echo "build: no guest SDK in $sdk (set TAU_SDK)" >&2
    return 1
  fi

  # Every .cc and .cpp below the sources, outside .taubyte and .git. $1 may name one file instead.
  set -f
  old_ifs=$IFS
  IFS='
'
  if [ -n "${1:-}" ]; then
    files=$src/$1
  else
    files=$(find "$src/" \( -name .taubyte -o -name .git \) -prune -o \
      -type f \( -name '*.cc' -o -name '*.cpp' \) -print | sort)
  fi
  set -- $files
  IFS=$old_ifs
  set +f
  if [ $# -eq 0 ]; then
    echo "build: no .cc or .cpp file in $src" >&2
    return 1
  fi

  # A reactor: `_initialize` runs the constructors, then the route's function is called. The names
  # stay in the module, so that the backtrace of a trap has them. 128 KiB of stack lie below the
  # data, where an overflow traps instead of overwriting it. Memory is the node's to limit.
  "${CXX:-clang++-19}" --target=wasm32-wasi -mexec-model=reactor -std=c++23 -Oz -flto \
    -fno-exceptions -fno-rtti -Wall -Wextra -I"$sdk" -I"$sdk/cpp/include" \
    -Wl,--strip-debug -Wl,--stack-first -Wl,-z,stack-size=131072 \
    ${CXXFLAGS:-} -o "$out/main.wasm" "$@" || return $?
  echo "build: $out/main.wasm, $(wc -c <"$out/main.wasm" | tr -d ' ') bytes"
}
