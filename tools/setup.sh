#!/bin/sh
# Install what building, testing and the examples need (Debian 12). Quick when all is there.
set -eu

packages="build-essential meson ninja-build pkg-config python3 python3-pil python3-boto3 awscli
curl e2fsprogs zip libssl-dev libjansson-dev libsqlite3-dev libarchive-dev libcurl4-openssl-dev
libseccomp-dev libpcre2-dev libyaml-dev libexpat1-dev libcmocka-dev musl-tools clang-14 libclang-rt-14-dev clang-format-14 crun wrk
ca-certificates nginx-light librdkafka-dev librabbitmq-dev rabbitmq-server
iproute2 nftables conmon runc runsc skopeo umoci buildah busybox-static docker-registry docker.io"
# A node from elsewhere is fine; Debian's is the fallback.
command -v node >/dev/null 2>&1 || packages="$packages nodejs"
command -v npm >/dev/null 2>&1 || packages="$packages npm"

missing=""
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "setup: these packages are missing:$missing; run this as root or install sudo" >&2
		exit 1
	}
	sudo=sudo
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Some packages bring servers and would start them at once: tests start their own, on loopback.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$guard" >/dev/null
	$sudo chmod 755 "$guard"
	trap '$sudo rm -f "$guard"' EXIT
fi
# Lists of third parties may be unreachable; only what we need has to be there.
$sudo apt-get update -qq || true
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
