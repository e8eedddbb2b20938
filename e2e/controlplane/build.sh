#!/usr/bin/env bash
# Makes a Kubernetes control plane available as plain programs and prints the directory that holds them.
#
#   assets=$(e2e/controlplane/build.sh)      # etcd kube-apiserver kube-controller-manager kubectl
#
# KUBEBUILDER_ASSETS, when set, names a directory that already has them; nothing is built then. Otherwise they are built once from the
# versions that go.mod pins, into ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/controlplane/<version>/, and found there from then on.
# The directory is the only thing on standard output; everything else goes to standard error.
set -euo pipefail

programs=(etcd kube-apiserver kube-controller-manager kubectl)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'controlplane: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The names of those programs that directory $1 lacks.
missing_in() {
	local program
	for program in "${programs[@]}"; do
		[[ -x $1/$program ]] || printf '%s ' "$program"
	done
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	missing=$(missing_in "$KUBEBUILDER_ASSETS")
	[[ -z $missing ]] || fail "KUBEBUILDER_ASSETS ($KUBEBUILDER_ASSETS) lacks: ${missing% }; add them, or unset it to have all four built"
	printf '%s\n' "$KUBEBUILDER_ASSETS"
	exit 0
fi

version=$(sed -n 's/^[[:space:]]*k8s\.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$here/go.mod")
[[ $version =~ ^v([0-9]+)\.([0-9]+)\.[0-9]+$ ]] || fail "go.mod should require one release of k8s.io/kubernetes, found \`$version\`"
major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}

# The directory is named after Kubernetes alone, so the stamp tells when another pin (etcd's, say) or the flags below have changed.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/controlplane
assets=$cache/$version
stamp=$(cat "$here/go.mod" "$here/go.sum" "${BASH_SOURCE[0]}" | cksum)
ready() { [[ -z $(missing_in "$assets") && $(cat "$assets/.stamp" 2>/dev/null) == "$stamp" ]]; }

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
	command -v go >/dev/null || fail "go is needed to build Kubernetes $version; install it, or set KUBEBUILDER_ASSETS"
	say "building ${programs[*]} for Kubernetes $version; the first time takes about six minutes on two cores"

	# A plain `go build` leaves the version at v0.0.0-master. The API server works out which APIs and feature gates are on
	# from it, and clients take their decisions by it, so it has to be the release's own.
	flags=()
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		flags+=(-X "$package.gitVersion=$version" -X "$package.gitMajor=$major" -X "$package.gitMinor=$minor" -X "$package.gitTreeState=archive")
	done

	building=$(mktemp -d "$cache/building.XXXXXX")
	trap 'rm -rf "$building"' EXIT
	cd "$here"
	export CGO_ENABLED=0 GOWORK=off
	build() { go build -trimpath -buildvcs=false -ldflags "-s -w ${flags[*]}" -o "$building/$1" "$2"; }
	build etcd go.etcd.io/etcd/server/v3
	build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
	build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
	build kubectl k8s.io/kubernetes/cmd/kubectl
	printf '%s\n' "$stamp" >"$building/.stamp"
	chmod 755 "$building"

	# Renamed only when complete: an interrupted build never looks like a finished one.
	rm -rf "$assets"
	mv "$building" "$assets"
	say "built $assets"
fi
printf '%s\n' "$assets"
