#!/usr/bin/env bash
# Makes promtool available and prints the path of the program.
#
#   promtool=$(e2e/promtool/build.sh)
#
# PROMTOOL, when set, names a promtool to use; nothing is built then. Otherwise it is built once
# from the version that go.mod pins, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/promtool/<version>/, and found there from then
# on. The path is the only thing on standard output; everything else goes to standard error.
set -euo pipefail

name=promtool
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../build-once.sh"

if [[ -n ${PROMTOOL:-} ]]; then
	[[ -x $PROMTOOL && -f $PROMTOOL ]] || fail "PROMTOOL ($PROMTOOL) is no program; name one, or unset it to have it built"
	printf '%s\n' "$PROMTOOL"
	exit 0
fi

version=$(pinned github.com/prometheus/prometheus "$here/go.mod")

make() {
	say "building promtool $version; the first time takes about four minutes on two cores"
	# Rules are tested without ever discovering a target: none of the clouds' libraries is needed for
	# that.
	go build -trimpath -buildvcs=false -tags remove_all_sd -ldflags "-s -w" \
		-o "$1/promtool" github.com/prometheus/prometheus/cmd/promtool
}

build_once "$version" promtool
printf '%s\n' "$built/promtool"
