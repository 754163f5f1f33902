#!/bin/bash

. /utils/wasm.sh

build "${FILENAME:-}"
