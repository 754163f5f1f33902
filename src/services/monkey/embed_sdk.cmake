# cmake -DSDK=folder -DOUT=file.cc -P embed_sdk.cmake: the guest SDK as bytes within the program, so that a node builds
# functions wherever it was installed.
file(GLOB_RECURSE files RELATIVE ${SDK} ${SDK}/abi/*.def ${SDK}/cpp/build.sh ${SDK}/cpp/include/*.h
  ${SDK}/rust/*.sh ${SDK}/assemblyscript/build.sh ${SDK}/assemblyscript/compile.mjs ${SDK}/assemblyscript/sdk/*.ts ${SDK}/go/*)
list(SORT files)
set(text "#include \"services/monkey/sdk_files.h\"\n\nnamespace tau::monkey {\nnamespace {\n")
set(table "")
set(n 0)
foreach(file IN LISTS files)
  file(READ ${SDK}/${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND text "const unsigned char kFile${n}[] = {${bytes}0};\n")
  string(APPEND table "      {\"${file}\", {kFile${n}, sizeof(kFile${n}) - 1}},\n")
  math(EXPR n "${n} + 1")
endforeach()
string(APPEND text "}  // namespace\n\nstd::vector<std::pair<std::string_view, BytesView>> sdk_files() {\n  return {\n${table}  };\n}\n\n}  // namespace tau::monkey\n")
file(WRITE ${OUT} "${text}")
