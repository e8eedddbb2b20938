# Sourced by the scripts that build programs once and find them from then on. A script sets `name`,
# its word in messages and its folder in the cache, and `here`, its own folder, before it sources
# this; then it defines `make` and calls `build_once`.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$name" "$*" >&2; }
fail() { say "$*"; exit 1; }

# The release of module $1 that file $2 pins.
pinned() {
	local version
	version=$(sed -n "s|^[[:space:]]*$1 \(v[0-9.]*\).*|\1|p" "$2")
	[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "$2 should require one release of $1, found \`$version\`"
	printf '%s\n' "$version"
}

# Linker flags by which programs of Kubernetes know that they are release $1. A plain `go build`
# leaves v0.0.0-master. The API server works out which APIs and feature gates are on from it, and
# clients take their decisions by it.
kubernetes_release() {
	local package major minor
	IFS=. read -r major minor _ <<<"${1#v}"
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		printf -- '-X %s=%s ' "$package.gitVersion" "$1" "$package.gitMajor" "$major" "$package.gitMinor" "$minor" \
			"$package.gitTreeState" archive
	done
}

# The names of those programs $2… that folder $1 lacks.
missing_in() {
	local program
	for program in "${@:2}"; do
		[[ -x $1/$program && -f $1/$program ]] || printf '%s ' "$program"
	done
}

# Makes the programs $2… of version $1 by `make FOLDER`, unless they are there and were made the
# same way, and sets `built` to their folder. What decides about the same are the go.mod and go.sum
# below `here`, `here`/build.sh and this file.
build_once() {
	local version=$1 programs=("${@:2}") cache stamp
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/$name
	built=$cache/$version
	# The folder is named after one version, so the stamp tells when another pin or a flag has changed.
	stamp=$(find "$here" "$here/../build-once.sh" \( -name 'go.*' -o -name 'build*.sh' \) -type f -print0 | sort -z | xargs -0 cat | cksum)
	ready() { [[ -z $(missing_in "$built" "${programs[@]}") && $(cat "$built/.stamp" 2>/dev/null) == "$stamp" ]]; }
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
		command -v go >/dev/null || fail "go is needed to build $version; install it"
		building=$(mktemp -d "$cache/building.XXXXXX")
		trap 'rm -rf "$building"' EXIT
		(
			cd "$here"
			export CGO_ENABLED=0 GOWORK=off
			make "$building" >&2
		)
		[[ -z $(missing_in "$building" "${programs[@]}") ]] || fail "not made: $(missing_in "$building" "${programs[@]}")"
		printf '%s\n' "$stamp" >"$building/.stamp"
		chmod 755 "$building"
		# Renamed only when complete: an interrupted build never looks like a finished one.
		rm -rf "$built"
		mv "$building" "$built"
		say "built $built"
	fi
}
