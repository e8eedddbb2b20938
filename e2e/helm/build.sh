#!/usr/bin/env bash
# Makes Helm available and prints the path of the program.
#
#   helm=$(e2e/helm/build.sh)
#
# HELM, when set, names a helm to use; nothing is built then. Otherwise it is built once from the
# version that go.mod pins, into ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/helm/<version>/,
# and found there from then on. The path is the only thing on standard output; everything else goes
# to standard error.
set -euo pipefail

name=helm
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../build-once.sh"

if [[ -n ${HELM:-} ]]; then
	[[ -x $HELM && -f $HELM ]] || fail "HELM ($HELM) is no program; name one, or unset it to have it built"
	printf '%s\n' "$HELM"
	exit 0
fi

version=$(pinned helm.sh/helm/v4 "$here/go.mod")

make() {
	say "building Helm $version; the first time takes about three minutes on two cores"
	# A plain `go build` calls itself v4 without the rest, and charts can ask for the version.
	go build -trimpath -buildvcs=false -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" \
		-o "$1/helm" helm.sh/helm/v4/cmd/helm
}

build_once "$version" helm
printf '%s\n' "$built/helm"
