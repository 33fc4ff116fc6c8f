#!/bin/sh
# All tests: style, two compilers, units and corpora under sanitizers, boxes, and the API with real
# clients, each test file against a server of its own. `make test` runs it after tools/setup.sh.
#
# The last line says "N passed, N failed, N skipped"; the exit code is 0 only if nothing failed and
# something passed. A test that this machine cannot run exits with 77 and is named as skipped; a
# suite of which every test is skipped counts as a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
npm_ca=${NODE_EXTRA_CA_CERTS:-} # npm may need it to reach its registry; what is tested does not
unset NODE_EXTRA_CA_CERTS AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL
export NO_COLOR=1 ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

logs=$(mktemp -d /tmp/mayfly-test.XXXXXX)
chmod 755 "$logs"
passed=0 failed=0 skipped=0 kept=""
began=$(date +%s)

title() {
	printf '\n== %s (%d s)\n' "$*" $(($(date +%s) - began))
}

pass() {
	passed=$((passed + 1))
	echo "ok    $1"
}

fail() {
	failed=$((failed + 1))
	kept=yes
	echo "FAIL  $1"
}

skip() {
	skipped=$((skipped + 1))
	echo "SKIP  $1: $2"
}

# One command that must succeed quietly; what it says is shown when it does not.
step() {
	name=$1
	shift
	if "$@" >"$logs/step" 2>&1; then
		pass "$name"
	else
		fail "$name"
		tail -n 60 "$logs/step"
		return 1
	fi
}

finish() {
	if [ -n "$kept" ]; then
		echo "logs are in $logs" >&2
	else
		rm -rf "$logs"
	fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- style ----

all_c_files() {
	find src tests bench examples \( -name node_modules -prune \) -o -name '*.[ch]' -print
}

check_format() {
	all_c_files | xargs clang-format-14 --dry-run -Werror
}

# Shell and Python at least have to parse.
check_scripts() {
	for f in tools/*.sh bench/*.sh tests/v2/*.sh tests/v2/init .ci/run; do
		[ ! -e "$f" ] || sh -n "$f" || return 1
	done
	for f in tools/*.py bench/*.py tests/v2/*.py; do
		[ ! -e "$f" ] || python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$f" || return 1
	done
}

check_manual() {
	! man --warnings -l docs/man/mayfly.1 2>&1 >/dev/null | grep .
}

style() {
	title "style"
	step "layers" python3 tools/check_layers.py
	step "sizes" python3 tools/check_size.py
	step "compatibility" python3 tools/coverage.py --check
	step "every operation has a test by SDK and CLI" python3 tools/check_driven.py
	step "format" check_format
	step "scripts" check_scripts
	if command -v man >/dev/null 2>&1; then
		step "manual" check_manual
	else
		skip "manual" "man is not installed"
	fi
}

# ---- builds ----

# DIR, then arguments of meson setup.
build() {
	dir=$1
	shift
	if [ -f "$dir/build.ninja" ]; then
		meson configure "$dir" -Dwerror=true || return 1
	else
		meson setup "$dir" -Dwerror=true "$@" || return 1
	fi
	ninja -C "$dir" -k 0 # all that is wrong, not only the first
}

build_sanitized() (
	export CC=clang-14
	build build-san -Db_sanitize=address,undefined -Db_lundef=false
)

builds() {
	title "builds: gcc for use, clang with the address and undefined behaviour sanitizers"
	step "gcc, no warnings" build build || return 1
	# A compiler is chosen when the directory is made.
	if [ -d build-san ] && ! grep -q clang build-san/meson-info/intro-compilers.json 2>/dev/null; then
		rm -rf build-san
	fi
	step "clang with sanitizers, no warnings" build_sanitized
}

# ---- suites of meson ----

count_of() {
	sed -n "s/^$1: *\([0-9][0-9]*\).*/\1/p" "$2" | head -n 1
}

# DIR SUITE: run it and add up what it says.
suite() {
	meson test -C "$1" --no-rebuild --suite "$2" --num-processes 2 --print-errorlogs >"$logs/$2" 2>&1
	ok=$(count_of Ok "$logs/$2") bad=$(count_of Fail "$logs/$2")
	late=$(count_of Timeout "$logs/$2") not=$(count_of Skipped "$logs/$2")
	ok=${ok:-0} bad=$((${bad:-0} + ${late:-0})) not=${not:-0}
	echo "suite $2: $ok passed, $bad failed, $not skipped"
	grep -E '^ *[0-9]+/[0-9]+ .*(SKIP)' "$logs/$2"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + not))
	if [ "$bad" -gt 0 ]; then
		kept=yes
		grep -v -E '^ *[0-9]+/[0-9]+ .*OK' "$logs/$2" | tail -n 150
	elif [ "$ok" -eq 0 ]; then
		fail "suite $2: nothing in it passed"
		tail -n 20 "$logs/$2"
	fi
}

suites() {
	title "units, corpora and bootstraps, with sanitizers"
	for name in unit fuzz runtimes; do
		suite build-san "$name"
	done
	title "boxes, as they are used"
	suite build box
	suite build fault
	title "event sources, with brokers of our own"
	suite build source
}

# ---- the API ----

# Not again if nothing has changed since the last time.
install_clients() {
	[ -f tests/api/package.json ] || return 0
	cmp -s tests/api/package.json tests/api/node_modules/.installed && return 0
	command=install
	[ ! -f tests/api/package-lock.json ] || command=ci
	NODE_EXTRA_CA_CERTS=$npm_ca npm --prefix tests/api "$command" --no-audit --no-fund &&
		cp tests/api/package.json tests/api/node_modules/.installed
}

tap_count() {
	sed -n "s/^# $1 \([0-9][0-9]*\)$/\1/p" "$logs/$2.tap" | tail -n 1
}

# NAME, then what runs node, then files.
node_tests() {
	name=$1
	shift
	"$@" >"$logs/$name.spec" 2>&1
	code=$?
	ok=$(tap_count pass "$name") bad=$(tap_count fail "$name")
	not=$(tap_count skipped "$name") gone=$(tap_count cancelled "$name")
	ok=${ok:-0} bad=$((${bad:-0} + ${gone:-0})) not=${not:-0}
	# What fails outside a test, such as a server that crashes when stopped, is not in the count.
	[ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	echo "suite $name: $ok passed, $bad failed, $not skipped"
	grep '# SKIP' "$logs/$name.tap"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + not))
	if [ "$bad" -gt 0 ]; then
		kept=yes
		sed -n '/failing tests/,$p' "$logs/$name.spec" | head -n 300
	elif [ "$ok" -eq 0 ]; then
		fail "suite $name: nothing in it passed"
		tail -n 40 "$logs/$name.spec"
	fi
}

# NAME: options of node for it.
reporters() {
	echo "--test --test-concurrency=1 --test-reporter=tap --test-reporter-destination=$logs/$1.tap \
		--test-reporter=spec --test-reporter-destination=stdout"
}

api() {
	title "the API, with real clients"
	if [ "$(id -u)" -ne 0 ]; then
		skip "suites api and containers" "a server can only be started by root"
		return
	fi
	step "npm packages" install_clients || return
	export MAYFLY="$PWD/build/mayfly"
	# shellcheck disable=SC2046
	node_tests api node $(reporters api) tests/api/*.test.mjs
	title "containers, in a network namespace of their own"
	# shellcheck disable=SC2046
	node_tests containers unshare --net sh -c 'ip link set lo up; exec "$@"' sh \
		node $(reporters containers) tests/containers/*.test.mjs
}

style
if builds; then
	suites
	api
fi
title "done"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
