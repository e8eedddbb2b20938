#!/usr/bin/env bash
# Makes a Kubernetes control plane available as plain programs and prints the directory that holds
# them.
#
#   assets=$(e2e/controlplane/build.sh)      # etcd kube-apiserver kube-controller-manager kubectl
#
# KUBEBUILDER_ASSETS, when set, names a directory that already has them; nothing is built then.
# Otherwise they are built once from the versions that go.mod pins, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/controlplane/<version>/, and found there from
# then on. The directory is the only thing on standard output; everything else goes to standard
# error.
set -euo pipefail

programs=(etcd kube-apiserver kube-controller-manager kubectl)
name=controlplane
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../build-once.sh"

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	missing=$(missing_in "$KUBEBUILDER_ASSETS" "${programs[@]}")
	[[ -z $missing ]] || fail "KUBEBUILDER_ASSETS ($KUBEBUILDER_ASSETS) lacks: ${missing% }; add them, or unset it to have all four built"
	printf '%s\n' "$KUBEBUILDER_ASSETS"
	exit 0
fi

version=$(pinned k8s.io/kubernetes "$here/go.mod")

make() {
	say "building ${programs[*]} for Kubernetes $version; the first time takes about six minutes on two cores"
	local building=$1
	build() { go build -trimpath -buildvcs=false -ldflags "-s -w $(kubernetes_release "$version")" -o "$building/$1" "$2"; }
	build etcd go.etcd.io/etcd/server/v3
	build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
	build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
	build kubectl k8s.io/kubernetes/cmd/kubectl
}

build_once "$version" "${programs[@]}"
printf '%s\n' "$built"
