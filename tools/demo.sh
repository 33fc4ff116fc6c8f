#!/bin/sh
# Mayfly's main job on real input: start the server, deploy a function that makes thumbnails of
# photographs, upload one with the AWS CLI, see the thumbnail appear, call the function directly and by
# its URL too, look at its log and its bill, stop. Everything is
# made below a temporary directory and removed, but for the thumbnails. Needs `make` first.
set -eu
cd "$(dirname "$0")/.."

mayfly=$(realpath "${MAYFLY_BUILD:-build}")/mayfly
work=$(mktemp -d /tmp/mayfly-demo.XXXXXX)
chmod 755 "$work"
out=${MAYFLY_DEMO_OUT:-$(mktemp -d /tmp/mayfly-thumbnails.XXXXXX)}
server=""
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo

say() {
	printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[01]m//g'; fi
}

stop() {
	code=$?
	trap - EXIT INT TERM
	if [ -n "$server" ]; then
		$sudo kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	if [ "$code" -ne 0 ]; then
		echo "demo: something went wrong; the server's log ends so:" >&2
		tail -n 20 "$work/server.log" >&2 2>/dev/null || true
		rmdir "$out" 2>/dev/null || true
	fi
	$sudo rm -rf "$work"
	exit "$code"
}
trap stop EXIT
trap 'exit 130' INT TERM

wait_ready() {
	tries=0
	until [ -s "$work/data/endpoint" ] &&
		curl -fsS --noproxy '*' "$(cat "$work/data/endpoint")/_mayfly/health" >/dev/null 2>&1; do
		kill -0 "$server" 2>/dev/null || [ -n "$sudo" ] || return 1
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || return 1
		sleep 0.1
	done
}

size_of() {
	wc -c <"$1" | tr -d ' '
}

say "1. Start the server on a free port, with an empty data directory"
$sudo "$mayfly" serve --listen 127.0.0.1:0 --data "$work/data" >"$work/server.log" 2>&1 &
server=$!
wait_ready
# What `mayfly env` prints is what any AWS client needs; -u: nothing of this shell's own.
keys=$($sudo "$mayfly" env --data "$work/data")
eval "$keys"
echo "ready at $AWS_ENDPOINT_URL"

aws() {
	command aws --endpoint-url "$AWS_ENDPOINT_URL" --region us-east-1 "$@"
}

say "2. Deploy examples/image-resize: two buckets, a function, what triggers it"
"$mayfly" deploy examples/image-resize

say "3. Nothing has happened, so nothing was paid for"
"$mayfly" bill

say "4. Make a photograph of 12 megapixels and upload it with AWS's own tool"
/usr/bin/python3 tools/demo_photo.py "$work/photo.jpg" "$work/event.json"
echo "$work/photo.jpg: $(size_of "$work/photo.jpg") bytes"
aws s3 cp --no-progress "$work/photo.jpg" s3://photos/

say "5. The upload has triggered the function: the thumbnail is in the second bucket"
tries=0
until aws s3 ls s3://thumbnails/photo.jpg; do
	tries=$((tries + 1))
	[ "$tries" -lt 50 ] || { echo "demo: no thumbnail came" >&2; exit 1; }
	sleep 0.2
done
aws s3 cp --no-progress s3://thumbnails/photo.jpg "$out/upload.jpg"

say "6. The same function invoked directly: one event, three sizes"
"$mayfly" invoke image-resize "@$work/event.json" >"$work/answer.json"
/usr/bin/python3 tools/demo_photo.py --save "$work/answer.json" "$out"

say "7. And by its URL, as a browser would: POST the photograph, get a thumbnail"
url=$("$mayfly" deploy examples/image-resize --json | /usr/bin/python3 -c '
import json, sys
print(*(r["FunctionUrl"] for r in json.load(sys.stdin)["Resources"] if "FunctionUrl" in r))')
host=$(echo "$url" | sed 's,^http://\([^/]*\).*,\1,')
for width in 240 800 1600; do
	curl -fsS --noproxy '*' -H "Host: $host" -H 'Content-Type: image/jpeg' \
		--data-binary "@$work/photo.jpg" -o "$out/url-$width.jpg" \
		-w "%{http_code} width $width: %{size_download} bytes in %{time_total} s\n" \
		"$AWS_ENDPOINT_URL/?width=$width"
done
echo "(the URL is $url)"

say "8. Its log"
# Lines are stored a moment after the answer has gone out.
sleep 1
"$mayfly" logs image-resize

say "9. What that would have cost on AWS: exactly these calls, nothing while idle"
"$mayfly" bill

say "10. Stop"
"$mayfly" rm -y image-resize
$sudo kill "$server"
wait "$server" || true
server=""
echo "stopped. The thumbnails are in $out:"
for f in "$out"/*.jpg; do
	echo "  $(size_of "$f") bytes  $f"
done
