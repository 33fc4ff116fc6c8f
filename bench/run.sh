#!/bin/sh
# Side-by-side figures; see run.py. A clean environment, because variables slow interpreters down; a
# network namespace of its own, because containers get a bridge, and so does docker.
set -eu
if [ "$(id -u)" -eq 0 ] && [ "${MAYFLY_BENCH_NET:-}" != own ]; then
	MAYFLY_BENCH_NET=own exec unshare --net "$0" "$@"
fi
[ "${MAYFLY_BENCH_NET:-}" != own ] || ip link set lo up
cd "$(dirname "$0")/.."
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="${HOME:-/}" LANG=C.UTF-8 \
	/usr/bin/python3 bench/run.py "$@"
