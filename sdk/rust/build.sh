# Sourced by a function's .taubyte/build.sh (as /utils/wasm.sh): defines `build`, which compiles the
# crate in $SRC into $OUT/main.wasm. POSIX sh. cargo works without network here: it finds the crates
# of the toolchain and those that were fetched for this function in /tmp/vendor.
#
#   SRC           the folder with Cargo.toml                             (default /src)
#   OUT           where main.wasm goes                                   (default /out)
#   TAU_BASE      crates of the toolchain: vendor/, compiled in target/  (default /opt/rust-base)
#   TAU_CRATES    fetched crates: NAME-VERSION.crate                     (default /opt/tau/deps/store)

tau_base=${TAU_BASE:-/opt/rust-base}
export CARGO_HOME="${CARGO_HOME:-/tmp/cargo}" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-/tmp/target}"
mkdir -p "$CARGO_HOME" /tmp/vendor
if [ -d "$tau_base/vendor" ]; then ln -s "$tau_base"/vendor/* /tmp/vendor/ || return 1; fi
tau_crates=
for crate in "${TAU_CRATES:-/opt/tau/deps/store}"/*.crate; do
  [ -f "$crate" ] || continue
  name=${crate##*/}
  name=${name%.crate}
  if [ -e "/tmp/vendor/$name" ]; then continue; fi
  tar -xzf "$crate" -C /tmp/vendor || return 1
  # Cargo compares it with Cargo.lock; the files are what was in there.
  digest=$(sha256sum "$crate") || return 1
  printf '{"files":{},"package":"%s"}' "${digest%% *}" >"/tmp/vendor/$name/.cargo-checksum.json"
  tau_crates=some
done
cat >"$CARGO_HOME/config.toml" <<'END'
[build]
target = "wasm32-wasip1"
[net]
offline = true
[source.crates-io]
replace-with = "fetched"
[source.fetched]
directory = "/tmp/vendor"
[target.wasm32-wasip1]
linker = "wasm-ld-19"
END

build() {
  src=${SRC:-/src}
  out=${OUT:-/out}
  if [ ! -f "$src/Cargo.toml" ]; then
    echo "build: no Cargo.toml in $src" >&2
    return 1
  fi

  # Small, and alike for every function, so that the compiled crates of the toolchain fit. A crate
  # with a profile of its own has what it says, and compiles its dependencies itself. The names stay
  # in the module, so that the backtrace of a trap has them.
  if ! grep -q '^\[profile\.release' "$src/Cargo.toml"; then
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=z CARGO_PROFILE_RELEASE_LTO=true \
      CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
  fi
  # A copy, 80 MB in memory: cargo writes beside what it finds, and times say what is compiled anew.
  if [ ! -d "$CARGO_TARGET_DIR" ] && [ -d "$tau_base/target" ]; then
    cp -r --preserve=timestamps "$tau_base/target" "$CARGO_TARGET_DIR" || return 1
    if [ -d /tmp/kept ]; then cp -r --preserve=timestamps /tmp/kept/. "$CARGO_TARGET_DIR/"; fi
  fi

  (cd "$src" && cargo build --quiet --release --target wasm32-wasip1) 2>/tmp/cargo.log
  code=$?
  # "error[E1]: what" and " --> lib.rs:1:2" in one line, as other compilers say it.
  awk -v src="$src" '
    function flush() { if (held != "") print held; held = "" }
    /^(error|warning)(\[|:)/ { flush(); held = $0; next }
    held != "" && /^ *--> [^ ]+:[0-9]+:[0-9]+$/ {
      place = $2; if (place !~ /^\//) place = src "/" place
      code = ""; if (match(held, /\[[^]]*\]/) && RSTART < 9) code = " " substr(held, RSTART, RLENGTH)
      kind = held; sub(/[:[].*/, "", kind)
      what = held; sub(/^[^:]*: /, "", what)
      print place ": " kind ": " what code; held = ""; next
    }
    { flush(); print }
    END { flush() }' /tmp/cargo.log >&2
  if [ $code -ne 0 ]; then
    if grep -q 'no matching package\|failed to select a version' /tmp/cargo.log; then
      echo "build: crates beyond the SDK's are fetched as Cargo.lock says: run cargo generate-lockfile" \
        "and push Cargo.lock" >&2
    fi
    return $code
  fi
  set -- "$CARGO_TARGET_DIR"/wasm32-wasip1/release/*.wasm
  if [ $# -ne 1 ] || [ ! -f "$1" ]; then
    echo "build: expected one module, got: $*. Cargo.toml needs [lib] crate-type = [\"cdylib\"]" >&2
    return 1
  fi
  cp "$1" "$out/main.wasm" || return $?
  # What the next build of this project need not compile: other people's crates that the toolchain has not.
  if [ -n "$tau_crates" ]; then
    (cd "$tau_base/target" && find . -type f | sort) >/tmp/had
    (rm -rf /tmp/kept && mkdir /tmp/kept && cd "$CARGO_TARGET_DIR" &&
      find . -type f ! -name '*.wasm' ! -name '.cargo*' | sort | comm -23 - /tmp/had |
      tar -cf - -T - | tar -xf - -C /tmp/kept)
  fi
  echo "build: $out/main.wasm, $(wc -c <"$out/main.wasm" | tr -d ' ') bytes"
}
