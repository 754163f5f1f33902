# Sourced by a function's .taubyte/build.sh (as /utils/wasm.sh): defines `build`, which compiles the Go package in $SRC into
# $OUT/main.wasm with standard Go (wasip1, a reactor). POSIX sh.
#
#   SRC       the folder with the function's sources                        (default /src)
#   OUT       where main.wasm goes                                          (default /out)
#   TAU_GO    the folder with pragmas.awk                                   (default /opt/tau/sdk/go)
#   TAU_DEPS  store/: modules as a GOPROXY has them; project/: go.mod and   (default /opt/tau/deps)
#             go.sum, complete, and `pragmas`, the modules written for TinyGo
#
# Functions and the SDK are written for TinyGo: its pragmas become standard Go's in copies of the sources (pragmas.awk). A function is
# `package lib`; a main package around it is written here. $SRC stays as it is.

# Every argument that Taubyte's scripts give (a file, a level of debugging) is about TinyGo.
build() ( tau_go_build )
debug_build() ( tau_go_build )

tau_go_pragmas() { # FOLDER [DROP]: its files, in place
  grep -rlE --include='*.go' '^//(export|go:wasm-module)[[:space:]]' "$1" | while IFS= read -r file; do
    awk -v drop="${2:-}" -f "$tools/pragmas.awk" "$file" > "$work/rewritten" && cat "$work/rewritten" > "$file"
  done
}

tau_go_sources() { # [DROP]: a copy of the sources in $work/src
  rm -rf "$work/src"
  mkdir -p "$work/src"
  cp -R "$src/." "$work/src/" || return 1
  rm -rf "$work/src/.git" "$work/src/.taubyte" "$work/src/vendor" "$work/src/tau_main"
  cd "$work/src" || return 1
  tau_go_pragmas . "${1:-}"
  cp "$work/go.mod" go.mod
  if [ -f "$work/go.sum" ]; then cp "$work/go.sum" go.sum; fi
  target=.
  if ! grep -qE '^package[[:space:]]+main' ./*.go; then
    target=./tau_main
    mkdir tau_main
    printf 'package main\n\nimport _ "%s"\n\nfunc main() {}\n' "$module" > tau_main/main.go
  fi
}

# Places as the person who pushed knows them, in a form that shows what is an error. Parts of the compiler name files by module.
tau_go_words() {
  sed -e "s|^$(printf %s "$module" | sed 's/[].[*^$|\\]/\\&/g')/||" -e '/^go: downloading /d' -e '/^\//b' -e '/^\.\.\//b' -e 's|^\./||' -e 's|^\([^ :]*\.go:[0-9:]*\) |'"$src"'/\1 error: |' -e '/^# /d'
}

tau_go_compile() {
  { go build -mod=mod -trimpath -buildmode=c-shared -ldflags=-w -o "$out/main.wasm" "$target" 2>&1; echo $? > "$work/code"; } |
    tau_go_words > "$work/words"
  return "$(cat "$work/code")"
}

tau_go_build() {
  src=${SRC:-/src} out=${OUT:-/out} tools=${TAU_GO:-/opt/tau/sdk/go} deps=${TAU_DEPS:-/opt/tau/deps}
  work=${TMPDIR:-/tmp}/tau-go
  rm -rf "$work"
  mkdir -p "$work" || return 1
  if ! ls "$src"/*.go > /dev/null 2>&1; then
    echo "build: no .go file in $src" >&2
    return 1
  fi
  if [ -f "$deps/project/go.mod" ]; then
    cp "$deps/project/go.mod" "$work/go.mod"
    if [ -f "$deps/project/go.sum" ]; then cp "$deps/project/go.sum" "$work/go.sum"; fi
  else
    printf 'module function\n\ngo 1.24\n' > "$work/go.mod"
  fi
  module=$(awk '$1 == "module" { gsub(/"/, "", $2); print $2; exit }' "$work/go.mod")

  # Modules are extracted below GOMODCACHE, which Go allows nobody to change; hence copies.
  if [ -s "$deps/project/pragmas" ]; then
    cd "$work" || return 1
    while read -r path version; do
      place=$(go mod download -json "$path@$version" 2> /dev/null | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
      if [ -z "$place" ]; then
        echo "build: module $path $version is not there" >&2
        return 1
      fi
      copy=$work/replaced/$path
      mkdir -p "$copy"
      cp -R "$place/." "$copy/" && chmod -R u+w "$copy" || return 1
      tau_go_pragmas "$copy"
      (cd "$copy" && { [ -f go.mod ] || printf 'module %s\n' "$path" > go.mod; } && go mod edit -go=1.24 go.mod) || return 1
      go mod edit -replace "$path=$copy" go.mod || return 1
    done < "$deps/project/pragmas"
  fi

  tau_go_sources || return 1
  if ! tau_go_compile; then
    # What TinyGo exports with strings or slices has no form in standard Go. No caller of the node could use it, so it is left out.
    drop=$(sed -n 's|^'"$src"'/\([^ ]*\.go:[0-9]*\):[0-9]*: error: go:wasmexport: .*|(^\|/)\1$|p' "$work/words" | sort -u | paste -s -d '|' -)
    if [ -z "$drop" ] || ! { tau_go_sources "$drop" && tau_go_compile; }; then
      cat "$work/words" >&2
      return 1
    fi
    echo "build: not exported, because the signature has no form in WebAssembly: $drop"
  fi
  cat "$work/words"
  echo "build: $out/main.wasm, $(wc -c < "$out/main.wasm" | tr -d ' ') bytes"
}
