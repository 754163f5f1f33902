#!/bin/sh
. /utils/wasm.sh

build "${FILENAME:-main.wasm}"
