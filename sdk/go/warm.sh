# Compiles the packages of the standard library that functions use, once for a toolchain, for builds to start from.
mkdir -p /tmp/warm
cd /tmp/warm || exit 1
printf 'module warm\n\ngo 1.24\n' > go.mod
{
  echo 'package main'
  for package in bufio bytes compress/gzip context crypto/hmac crypto/rand crypto/sha1 crypto/sha256 crypto/md5 encoding/base64 \
    encoding/binary encoding/csv encoding/hex encoding/json errors fmt hash/fnv html html/template io log maps math math/big \
    math/rand mime/multipart net/http net/url path regexp slices sort strconv strings sync text/template time unicode/utf8; do
    echo "import _ \"$package\""
  done
  echo 'func main() {}'
} > main.go
go build -trimpath -buildmode=c-shared -ldflags=-w -o /tmp/warm/warm.wasm . || exit 1
tar -cf /out/warm.tar -C / tmp/go/cache
