# Finds and fetches the modules that the Go sources in /fetch import: by `go list`, which reads sources and runs none. What /known has
# (a GOPROXY of files) is not fetched again. Leaves in /out: store/ (files of a GOPROXY), project/go.mod and go.sum, complete, and
# project/pragmas (modules written for TinyGo: path and version). TAU_GO_PROXY: where the rest is fetched from.
cd /fetch || exit 1
mkdir -p /out/project /out/store
[ -f go.mod ] || printf 'module function\n\ngo 1.24\n' > go.mod
cp go.mod /tmp/go.mod.given
if [ -f go.sum ]; then cp go.sum /tmp/go.sum.given; else : > /tmp/go.sum.given; fi
minor=$(awk '$1 == "go" { split($2, v, "."); print v[2]; exit }' go.mod)
if [ "${minor:-0}" -lt 24 ]; then go mod edit -go=1.24 go.mod || exit 1; fi
go mod edit -toolchain=none go.mod || exit 1

network=${TAU_GO_PROXY:-$(go env GOPROXY)}
# From proxies only: `direct` would ask whatever server an import path names.
network=$(printf %s "$network" | tr '|' ',' | tr ',' '\n' | grep -vE '^(direct|off)?$' | paste -s -d , -)
export GOPROXY="file:///known${network:+,$network}"

list() {
  go list -mod=mod -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./... > /tmp/modules 2> /tmp/said
}
words() {
  sed -e '/^go: downloading /d' -e '/^go: finding /d' -e '/^go: found /d' -e 's|^\./||' -e 's|^\([^ :/][^ :]*\.go:[0-9:]*\) |/src/\1 error: |' /tmp/said
}
checked='the checksum database'
if ! list; then
  if grep -q 'verifying ' /tmp/said && ! grep -qE 'checksum mismatch|SECURITY ERROR' /tmp/said; then
    checked=nobody
    cp /tmp/go.mod.given go.mod; cp /tmp/go.sum.given go.sum
    if [ "${minor:-0}" -lt 24 ]; then go mod edit -go=1.24 go.mod; fi
    go mod edit -toolchain=none go.mod
    GOSUMDB=off list || { words >&2; exit 1; }
  else
    words >&2
    exit 1
  fi
fi
sort -u /tmp/modules > /tmp/modules.sorted

touch go.sum
while read -r path version place; do
  [ -n "$path" ] || continue
  if ! grep -qF "$path $version h1:" /tmp/go.sum.given; then
    echo "go.sum lacks $path $version: checked by $checked; run go mod tidy and commit go.sum"
  fi
  if [ -n "$place" ] && grep -rqF --include='*.go' '//go:wasm-module' "$place"; then echo "$path $version" >> /out/project/pragmas; fi
done < /tmp/modules.sorted

cp go.mod go.sum /out/project/
from=$(go env GOMODCACHE)/cache/download
if [ -d "$from" ]; then
  cd "$from" && find . -path ./sumdb -prune -o -type f \( -name '*.mod' -o -name '*.info' -o -name '*.zip' \) -print > /tmp/files &&
    tar -cf - -T /tmp/files | tar -xf - -C /out/store
fi
