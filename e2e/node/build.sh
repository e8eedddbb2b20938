#!/usr/bin/env bash
# Makes the programs of a Kubernetes node available and prints the directory that holds them.
#
#   programs=$(e2e/node/build.sh)    # kubelet kube-scheduler kube-proxy containerd … cni/ptp
#
# They are built once from the versions that kubernetes/go.mod and runtime/go.mod pin, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/node/<version>/, and found there from then on.
# The directory is the only thing on standard output; everything else goes to standard error.
set -euo pipefail

kubernetes=(kubelet kube-scheduler kube-proxy)
runtime=(containerd containerd-shim-runc-v2 ctr crictl cni/ptp cni/loopback cni/host-local)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'node: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The names of those programs that directory $1 lacks.
missing_in() {
	local program
	for program in "${kubernetes[@]}" "${runtime[@]}"; do
		[[ -x $1/$program ]] || printf '%s ' "$program"
	done
}

# The version of module $1 in file $2.
pinned() { sed -n "s|^[[:space:]]*$1 \(v[0-9.]*\).*|\1|p" "$2"; }

version=$(pinned 'k8s\.io\/kubernetes' "$here/kubernetes/go.mod")
[[ $version =~ ^v([0-9]+)\.([0-9]+)\.[0-9]+$ ]] \
	|| fail "kubernetes/go.mod should require one release of k8s.io/kubernetes, found \`$version\`"
major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
plane=$(pinned 'k8s\.io\/kubernetes' "$here/../controlplane/go.mod")
[[ $version == "$plane" ]] \
	|| fail "kubernetes/go.mod has $version and the control plane $plane; give both the same"

# The directory is named after Kubernetes alone, so the stamp tells when another pin or the flags
# below have changed.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/node
programs=$cache/$version
stamp=$(cat "$here"/{kubernetes,runtime}/go.{mod,sum} "${BASH_SOURCE[0]}" | cksum)
ready() {
	[[ -z $(missing_in "$programs") && $(cat "$programs/.stamp" 2>/dev/null) == "$stamp" ]]
}

if ! ready; then
	mkdir -p "$cache"
	# Of several runs at once one builds and the others wait for it. Without flock they would each
	# build, which is only slower.
	exec 9>"$cache/.lock"
	if command -v flock >/dev/null; then
		flock 9
		rm -rf "$cache"/building.* # what a killed run left
	fi
fi
if ! ready; then
	command -v go >/dev/null || fail "go is needed to build Kubernetes $version; install it"
	say "building a node of Kubernetes $version; the first time takes some ten minutes on two cores"

	# As for the control plane: without them programs don't know which release they are.
	flags=()
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		flags+=(-X "$package.gitVersion=$version" -X "$package.gitMajor=$major")
		flags+=(-X "$package.gitMinor=$minor" -X "$package.gitTreeState=archive")
	done

	building=$(mktemp -d "$cache/building.XXXXXX")
	trap 'rm -rf "$building"' EXIT
	mkdir "$building/cni"
	export CGO_ENABLED=0 GOWORK=off
	# Several programs at once share what they compile and keep all cores busy.
	build() {
		go build -trimpath -buildvcs=false -ldflags "-s -w ${flags[*]}" -o "$building/$1/" "${@:2}"
	}
	cd "$here/kubernetes"
	build . "${kubernetes[@]/#/k8s.io/kubernetes/cmd/}"
	say "built ${kubernetes[*]} (${SECONDS}s)"
	flags=()
	cd "$here/runtime"
	containerd=github.com/containerd/containerd/v2/cmd
	plugins=github.com/containernetworking/plugins/plugins
	build . $containerd/{containerd,containerd-shim-runc-v2,ctr} sigs.k8s.io/cri-tools/cmd/crictl
	build cni $plugins/main/{ptp,loopback} $plugins/ipam/host-local
	say "built ${runtime[*]} (${SECONDS}s)"
	printf '%s\n' "$stamp" >"$building/.stamp"
	chmod 755 "$building"

	# Renamed only when complete: an interrupted build never looks like a finished one.
	rm -rf "$programs"
	mv "$building" "$programs"
	say "built $programs"
fi
printf '%s\n' "$programs"
