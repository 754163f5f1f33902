# Sourced by a function's .taubyte/build.sh (as /utils/wasm.sh): defines `build`, which compiles the
# .ts files of $SRC into $OUT/main.wasm. What one of them exports, the module exports. POSIX sh.
#
#   SRC       the folder with the function's sources                     (default /src)
#   OUT       where main.wasm goes                                       (default /out)
#   TAU_SDK   the folder that holds assemblyscript/                      (default /opt/tau/sdk)
#   TAU_ASC   the compiler: node_modules/ with assemblyscript            (default /opt/assemblyscript)
#   TAU_NODE  what runs it                                               (default node)

build() {
  src=${SRC:-/src}
  out=${OUT:-/out}
  asc=${TAU_ASC:-/opt/assemblyscript}
  work=$(mktemp -d) || return 1
  # The compiler looks for packages beside its entry.
  mkdir -p "$work/node_modules/@assemblyscript" &&
    ln -s "$asc/node_modules/@assemblyscript/wasi-shim" "$work/node_modules/@assemblyscript/" &&
    ln -s "$asc/node_modules/assemblyscript" "$work/node_modules/" &&
    ln -s "${TAU_SDK:-/opt/tau/sdk}/assemblyscript/sdk" "$work/node_modules/sdk" &&
    ln -s "$src" "$work/src" || return 1
  "${TAU_NODE:-node}" "${TAU_SDK:-/opt/tau/sdk}/assemblyscript/compile.mjs" \
    "$work" "$src" "$out/main.wasm" "${1:-}" || return $?
  echo "build: $out/main.wasm, $(wc -c <"$out/main.wasm" | tr -d ' ') bytes"
}
