# Fetches the crates that /fetch/Cargo.lock names and the toolchain has not, as their registry has them, checked by
# cargo with the digests of Cargo.lock. The sources beside it are empty: only manifests are read, and nothing is run.
# Leaves in /out/store: NAME-VERSION.crate.
cd /fetch || exit 1
mkdir -p /out/store "$CARGO_HOME"
cargo fetch --quiet --locked || exit 1
for crate in "$CARGO_HOME"/registry/cache/*/*.crate; do
  [ -f "$crate" ] || continue
  name=${crate##*/}
  [ -d "${TAU_BASE:-/opt/rust-base}/vendor/${name%.crate}" ] || cp "$crate" /out/store/ || exit 1
done
