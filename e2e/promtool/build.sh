#!/usr/bin/env bash
# Makes promtool available and prints the path of the program.
#
#   promtool=$(e2e/promtool/build.sh)
#
# PROMTOOL, when set, names a promtool to use; nothing is built then. Otherwise it is built once from the version that go.mod pins, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/promtool/<version>/, and found there from then on.
# The path is the only thing on standard output; everything else goes to standard error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'promtool: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

if [[ -n ${PROMTOOL:-} ]]; then
	[[ -x $PROMTOOL && -f $PROMTOOL ]] || fail "PROMTOOL ($PROMTOOL) is no program; name one, or unset it to have it built"
	printf '%s\n' "$PROMTOOL"
	exit 0
fi

version=$(sed -n 's/^[[:space:]]*github\.com\/prometheus\/prometheus \(v[0-9.]*\).*/\1/p' "$here/go.mod")
[[ $version =~ ^v0\.[0-9]+\.[0-9]+$ ]] || fail "go.mod should require one release of github.com/prometheus/prometheus, found \`$version\`"

# The stamp tells when what is built changed without the version: another pin, or the flags below.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/promtool
home=$cache/$version
stamp=$(cat "$here/go.mod" "$here/go.sum" "${BASH_SOURCE[0]}" | cksum)
ready() { [[ -x $home/promtool && $(cat "$home/.stamp" 2>/dev/null) == "$stamp" ]]; }

if ! ready; then
	mkdir -p "$cache"
	# Of several runs at once one builds and the others wait for it. Without flock they would each build, which is only slower.
	exec 9>"$cache/.lock"
	if command -v flock >/dev/null; then
		flock 9
		rm -rf "$cache"/building.* # what a killed run left
	fi
fi
if ! ready; then
	command -v go >/dev/null || fail "go is needed to build promtool $version; install it, or set PROMTOOL"
	say "building promtool $version; the first time takes about four minutes on two cores"
	building=$(mktemp -d "$cache/building.XXXXXX")
	trap 'rm -rf "$building"' EXIT
	cd "$here"
	# Rules are tested without ever discovering a target: none of the clouds' libraries is needed for that.
	CGO_ENABLED=0 GOWORK=off go build -trimpath -buildvcs=false -tags remove_all_sd -ldflags "-s -w" \
		-o "$building/promtool" github.com/prometheus/prometheus/cmd/promtool
	printf '%s\n' "$stamp" >"$building/.stamp"
	chmod 755 "$building"

	# Renamed only when complete: an interrupted build never looks like a finished one.
	rm -rf "$home"
	mv "$building" "$home"
	say "built $home/promtool"
fi
printf '%s\n' "$home/promtool"
