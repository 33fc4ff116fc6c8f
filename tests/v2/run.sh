#!/bin/sh
# Run tests of boxes on a host that has cgroup v2 alone: Debian's own kernel in an emulated machine
# (no KVM needed), with this machine's /usr and /etc and this repository shared read-only.
#
# Usage: tests/v2/run.sh [COMMAND…]     what to run in the guest; without: tests/v2/suite.py
# Needs the Debian packages qemu-system-x86, busybox-static and e2fsprogs, and built programs in
# build/. Emulation is ten to twenty times slower than the machine, so this is not part of
# `make test`. Exit code: that of the command; 77 if something is missing.
set -eu
cd "$(dirname "$0")/../.."
source=$PWD
work=$source/build/v2
memory=${V2_MEMORY:-4096} cpus=${V2_CPUS:-2} limit=${V2_LIMIT_S:-3600}

for program in qemu-system-x86_64 busybox mke2fs apt-get dpkg-deb cpio; do
	command -v "$program" >/dev/null 2>&1 || {
		echo "v2: $program is missing; install qemu-system-x86, busybox-static, e2fsprogs and cpio" >&2
		exit 77
	}
done
[ -x build/src/spawner/mayfly-spawner ] || {
	echo "v2: nothing is built in build/; run make first" >&2
	exit 77
}
mkdir -p "$work"

# Kernel and modules, out of the package that the meta-package names; nothing is installed.
fetch_kernel() {
	package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1)
	[ -n "$package" ] || return 1
	(cd "$work" && rm -rf kernel ./*.deb && apt-get download "$package" && dpkg-deb -x "$package"_*.deb kernel && rm ./*.deb)
}
[ -d "$work/kernel/boot" ] || fetch_kernel || {
	echo "v2: cannot download linux-image-amd64; run apt-get update" >&2
	exit 77
}
version=$(ls "$work/kernel/lib/modules")

# The first file system: busybox, the modules that the guest needs, and init.
pack() {
	root=$work/initramfs
	modules=lib/modules/$version
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/$modules" "$root/proc" "$root/sys" "$root/dev" "$root/new"
	cp "$(command -v busybox)" "$root/bin/busybox"
	for part in drivers/virtio drivers/block/virtio_blk.ko drivers/block/loop.ko drivers/net/veth.ko drivers/net/dummy.ko net/9p \
		fs/9p fs/fscache fs/netfs fs/ext4 fs/jbd2 fs/mbcache.ko fs/overlayfs lib crypto net/netfilter \
		net/bridge net/802 net/llc net/ipv4/netfilter net/ipv6/netfilter arch/x86/crypto; do
		[ ! -e "$work/kernel/$modules/kernel/$part" ] || {
			mkdir -p "$root/$modules/kernel/$(dirname "$part")"
			cp -a "$work/kernel/$modules/kernel/$part" "$root/$modules/kernel/$part"
		}
	done
	cp "$work/kernel/$modules"/modules.order "$work/kernel/$modules"/modules.builtin* "$root/$modules/"
	busybox depmod -b "$root" "$version"
	cp tests/v2/init "$root/init"
	chmod 755 "$root/init"
	printf '%s\n' "$source" >"$root/source"
	printf '%s\n' "$*" >"$root/command"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs.gz"
}
[ $# -gt 0 ] || set -- python3 -B tests/v2/suite.py
pack "$@"

# /tmp of the guest: a real file system on a real block device.
rm -f "$work/tmp.img"
truncate -s 8G "$work/tmp.img"
mke2fs -q -t ext4 -O ^has_journal "$work/tmp.img"

share() {
	printf '%s' "local,path=$1,mount_tag=$2,security_model=none,readonly=on,multidevs=remap"
}
code=0
timeout "$limit" qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp "$cpus" -m "$memory" \
	-nodefaults -no-reboot -display none -serial stdio -monitor none \
	-kernel "$work/kernel/boot/vmlinuz-$version" -initrd "$work/initramfs.gz" \
	-append "console=ttyS0 panic=-1 quiet mitigations=off" \
	-drive "file=$work/tmp.img,if=virtio,format=raw,cache=unsafe" \
	-virtfs "$(share /usr usr)" -virtfs "$(share /etc etc)" -virtfs "$(share "$source" source)" \
	</dev/null | stdbuf -oL tr -d "\r" | tee "$work/console" || code=$?
rm -f "$work/tmp.img"
status=$(sed -n 's/^v2: exit code \([0-9][0-9]*\)$/\1/p' "$work/console" | tail -n 1)
[ -n "$status" ] || {
	echo "v2: the guest did not come to its end (qemu: $code); see $work/console" >&2
	exit 1
}
exit "$status"
