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
name=node
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../build-once.sh"

version=$(pinned k8s.io/kubernetes "$here/kubernetes/go.mod")
plane=$(pinned k8s.io/kubernetes "$here/../controlplane/go.mod")
[[ $version == "$plane" ]] \
	|| fail "kubernetes/go.mod has $version and the control plane $plane; give both the same"

make() {
	say "building a node of Kubernetes $version; the first time takes some ten minutes on two cores"
	local building=$1 containerd=github.com/containerd/containerd/v2/cmd
	local plugins=github.com/containernetworking/plugins/plugins
	mkdir "$building/cni"
	# Several programs at once share what they compile and keep all cores busy. $1 are linker flags.
	build() { go build -trimpath -buildvcs=false -ldflags "-s -w $1" -o "$building/$2/" "${@:3}"; }
	cd "$here/kubernetes"
	build "$(kubernetes_release "$version")" . "${kubernetes[@]/#/k8s.io/kubernetes/cmd/}"
	say "built ${kubernetes[*]} (${SECONDS}s)"
	cd "$here/runtime"
	build "" . $containerd/{containerd,containerd-shim-runc-v2,ctr} sigs.k8s.io/cri-tools/cmd/crictl
	build "" cni $plugins/main/{ptp,loopback} $plugins/ipam/host-local
	say "built ${runtime[*]} (${SECONDS}s)"
}

build_once "$version" "${kubernetes[@]}" "${runtime[@]}"
printf '%s\n' "$built"
