#!/bin/sh
# A custom runtime as people write them: curl and a shell function. _HANDLER is "file.function";
# the function reads the event on its standard input and writes the answer.
set -eu

api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
file="${LAMBDA_TASK_ROOT:-.}/${_HANDLER%%.*}.sh"
function="${_HANDLER#*.}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -r "$file" ]; then
	curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: Runtime.NoSuchHandler' \
		-d "{\"errorType\":\"Runtime.NoSuchHandler\",\"errorMessage\":\"no file ${_HANDLER%%.*}.sh\"}" \
		"$api/init/error"
	exit 1
fi
. "$file"

while :; do
	curl -sS -D "$work/head" -o "$work/event" "$api/invocation/next"
	id=$(tr -d '\r' <"$work/head" | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *//p')
	if "$function" <"$work/event" >"$work/answer"; then
		curl -sS -o /dev/null --data-binary "@$work/answer" "$api/invocation/$id/response"
	else
		curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: Function.Failed' \
			-d '{"errorType":"Function.Failed","errorMessage":"the handler failed"}' \
			"$api/invocation/$id/error"
	fi
done
