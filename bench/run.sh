#!/bin/sh
# Side-by-side figures; see run.py. A clean environment, because variables slow interpreters down.
set -eu
cd "$(dirname "$0")/.."
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="${HOME:-/}" LANG=C.UTF-8 \
	/usr/bin/python3 bench/run.py "$@"
