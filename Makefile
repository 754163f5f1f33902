# make demo    installs what is missing, builds, and shows a function going from git push to an answer
# make test    installs what is missing, builds, and runs all tests
# make fuzz    feeds every decoder made-up input ([TARGET=name] [SECONDS=60], for each)
# make sim     runs the whole network in virtual time with faults ([SEEDS=1-1000] [NODES=20] [DURATION=60])
# make sim-mutations   breaks the product on purpose, one rule at a time, and shows whether the simulator notices
# make linearizability   kills and cuts off three tns processes; Porcupine checks what clients saw ([SECONDS=60])
# make package makes a .deb and a tarball, in build/package
# make bench   measures, beside peers, and writes build/bench.json
.PHONY: all setup build demo test test-asan fuzz sim sim-mutations linearizability bench package format clean
.DEFAULT_GOAL := build
export PATH := /var/cache/tau/toolchains/bin:$(PATH)
jobs := $(shell nproc)
tools := odo tau dream

setup:
	@tools/setup

build:
	@tools/setup build
	@cmake --preset dev --log-level=WARNING
	@cmake --build --preset dev -j$(jobs) --target $(tools)
	@ln -sfn dev/bin build/bin

demo: build
	@tools/demo

test: setup
	@cmake --preset dev --log-level=WARNING
	@cmake --build --preset dev -j$(jobs)
	@cmake --preset asan --log-level=WARNING
	@cmake --build --preset asan -j$(jobs) --target tau_sanitized_tests
	@ctest --preset asan -j$(jobs) -L sanitized --quiet --output-log build/asan.log || (cat build/asan.log; false)
	@tail -n 12 build/asan.log
	@ctest --preset dev -j$(jobs)

package: build
	@tools/setup package
	@tools/package

fuzz: setup
	@cmake --preset fuzz --log-level=WARNING
	@cmake --build --preset fuzz -j$(jobs) --target tau_fuzz
	@tools/fuzz "$(or $(SECONDS),60)" $(TARGET)

sim: setup
	@cmake --preset dev --log-level=WARNING
	@cmake --build --preset dev -j$(jobs) --target tau_sim
	@build/dev/bin/tau_sim --seeds $(or $(SEEDS),1-1000) --nodes $(or $(NODES),20) --seconds $(or $(DURATION),60)

sim-mutations: setup
	@cmake --preset dev --log-level=WARNING
	@cmake --build --preset dev -j$(jobs) --target tau_sim
	@tools/sim-mutations

linearizability: setup
	@cmake --preset dev --log-level=WARNING
	@cmake --build --preset dev -j$(jobs) --target linearizability_test
	@TAU_SECONDS="$(or $(SECONDS),60)" TAU_HISTORY="$(CURDIR)/build/history.jsonl" build/dev/tests/linearizability_test

bench: setup
	@cmake --preset dev --log-level=WARNING
	@cmake --build --preset dev -j$(jobs)
	@bench/run

format:
	@git ls-files '*.h' '*.cc' | xargs clang-format-19 -i

clean:
	rm -rf build
