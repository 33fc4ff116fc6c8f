# Short names for what people type; the build itself is meson's.
.PHONY: all setup test demo bench install check clean

all: build/build.ninja
	@ninja -C build

setup:
	@tools/setup.sh

build/build.ninja: | setup
	@meson setup build >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	@rm -f build.log

test: setup
	@tools/test.sh

demo: all
	@tools/demo.sh

bench: all
	@bench/run.sh

install: all
	@meson install -C build --no-rebuild

check:
	@python3 tools/check_layers.py
	@python3 tools/check_size.py
	@python3 tools/coverage.py --check
	@python3 tools/check_driven.py

clean:
	@rm -rf build build-*
