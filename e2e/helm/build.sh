#!/usr/bin/env bash
# Makes Helm available and prints the path of the program.
#
#   helm=$(e2e/helm/build.sh)
#
# HELM, when set, names a helm to use; nothing is built then. Otherwise it is built once from the version that go.mod pins, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/helm/<version>/, and found there from then on.
# The path is the only thing on standard output; everything else goes to standard error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'helm: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

if [[ -n ${HELM:-} ]]; then
	[[ -x $HELM && -f $HELM ]] || fail "HELM ($HELM) is no program; name one, or unset it to have it built"
	printf '%s\n' "$HELM"
	exit 0
fi

version=$(sed -n 's/^[[:space:]]*helm\.sh\/helm\/v4 \(v[0-9.]*\).*/\1/p' "$here/go.mod")
[[ $version =~ ^v4\.[0-9]+\.[0-9]+$ ]] || fail "go.mod should require one release of helm.sh/helm/v4, found \`$version\`"

# The stamp tells when what is built changed without the version: another pin, or the flags below.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/helm
home=$cache/$version
stamp=$(cat "$here/go.mod" "$here/go.sum" "${BASH_SOURCE[0]}" | cksum)
ready() { [[ -x $home/helm && $(cat "$home/.stamp" 2>/dev/null) == "$stamp" ]]; }

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
	command -v go >/dev/null || fail "go is needed to build Helm $version; install it, or set HELM"
	say "building Helm $version; the first time takes about three minutes on two cores"
	building=$(mktemp -d "$cache/building.XXXXXX")
	trap 'rm -rf "$building"' EXIT
	cd "$here"
	# A plain `go build` calls itself v4 without the rest, and charts can ask for the version.
	CGO_ENABLED=0 GOWORK=off go build -trimpath -buildvcs=false \
		-ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" \
		-o "$building/helm" helm.sh/helm/v4/cmd/helm
	printf '%s\n' "$stamp" >"$building/.stamp"
	chmod 755 "$building"

	# Renamed only when complete: an interrupted build never looks like a finished one.
	rm -rf "$home"
	mv "$building" "$home"
	say "built $home/helm"
fi
printf '%s\n' "$home/helm"
