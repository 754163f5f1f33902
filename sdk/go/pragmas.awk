# Gives standard Go what TinyGo's pragmas say, in the same number of lines, so that places in messages stay true:
#
#   //go:wasm-module M + //export N, a function without a body   ->  //go:wasmimport M N
#   //export N, a function with a body                           ->  //go:wasmexport N
#
# Four imports of github.com/taubyte/go-sdk-symbols have parameters that are 32 bits in TinyGo and 64 in Go, or that Go does not pass
# at all. They become a raw import and a function around it, at the end of the file. `drop` (one regular expression for "file:line")
# names exports that cannot be: their signature has no form in WebAssembly.

function parens(text,    opened, closed) {
  opened = gsub(/\(/, "(", text)
  closed = gsub(/\)/, ")", text)
  return opened - closed
}
BEGIN {
  raw["ipfsSeekFile"] = "func tauIpfsSeekFile(clientId, contentId uint32, offset int64, whence uint32, at *uint32) errno.Error"
  around["ipfsSeekFile"] = "func IpfsSeekFile(clientId, contentId uint32, offset int64, whence int, at *int) errno.Error {\n\tvar n uint32\n\terr := tauIpfsSeekFile(clientId, contentId, offset, uint32(whence), &n)\n\t*at = int(n)\n\treturn err\n}"
  raw["contentSeekFile"] = "func tauContentSeekFile(contentId uint32, offset int64, whence uint32, at *uint32) errno.Error"
  around["contentSeekFile"] = "func ContentSeekFile(contentId uint32, offset int64, whence int, at *int) errno.Error {\n\tvar n uint32\n\terr := tauContentSeekFile(contentId, offset, uint32(whence), &n)\n\t*at = int(n)\n\treturn err\n}"
  raw["putGlobalValue"] = "func tauPutGlobalValue(name string, application, function uint32, value *byte, size, capacity uint32) errno.Error"
  around["putGlobalValue"] = "func PutGlobalValue(name string, application, function uint32, value []byte) errno.Error {\n\tvar first *byte\n\tif len(value) > 0 {\n\t\tfirst = &value[0]\n\t}\n\treturn tauPutGlobalValue(name, application, function, first, uint32(len(value)), uint32(cap(value)))\n}"
  raw["fifoPush"] = "func tauFifoPush(id, buf uint32) errno.Error"
  around["fifoPush"] = "func FifoPush(id uint32, buf byte) errno.Error { return tauFifoPush(id, uint32(buf)) }"
}
{ out[NR] = $0 }
/^\/\/go:wasm-module[ \t]/ { module_line = NR; module_text = $0; module = $2; next }
/^\/\/export[ \t]/ { export_line = NR; export_text = $0; name = $2; next }
/^\/\// { next }
/^func[ \t(]/ && export_line {
  first = NR
  depth = parens($0)
  text = $0
  while (depth > 0 && (getline line) > 0) {
    out[NR] = line
    depth += parens(line)
    text = line
  }
  body = text ~ /\{/
  if (body) {
    if (module_line) out[module_line] = "//"
    place = FILENAME ":" first
    out[export_line] = module_line || (drop != "" && place ~ drop) ? "//" : "//go:wasmexport " name
  } else if (name in raw && module == "taubyte/sdk") {
    out[module_line] = out[export_line] = "//"
    for (i = first; i <= NR; i++) out[i] = "//" out[i]
    tail = tail "\n//go:wasmimport " module " " name "\n" raw[name] "\n\n" around[name] "\n"
  } else {
    if (module_line) out[module_line] = "//"
    out[export_line] = "//go:wasmimport " (module_line ? module : "env") " " name
  }
  module_line = export_line = 0
  next
}
{ module_line = export_line = 0 }
END {
  for (i = 1; i <= NR; i++) print out[i]
  printf "%s", tail
}
