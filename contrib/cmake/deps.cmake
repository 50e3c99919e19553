# Libraries of Debian 12. Which files may include which library is checked by contrib/check-layers.py.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
foreach(dep IN ITEMS nghttp2:libnghttp2 uv:libuv protobufc:libprotobuf-c ssl:openssl jansson:jansson
                     cares:libcares zlib:zlib brotlidec:libbrotlidec zstd:libzstd cmocka:cmocka)
  string(REPLACE ":" ";" pair ${dep})
  list(GET pair 0 name)
  list(GET pair 1 module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
endforeach()
find_program(PROTOC_C protoc-c REQUIRED)
find_program(PROTOC protoc REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
