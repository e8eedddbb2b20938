# syntax=docker/dockerfile:1
# The image of the operator: one program, nobody's rights, no key.
#
#   deploy/image --platform linux/amd64,linux/arm64 --tag REPOSITORY:TAG
#
# which gives it the base images by digest, from deploy/base-images. There is no default: a tag may
# mean something else tomorrow.

# rust:…@sha256:… and gcr.io/distroless/cc-debian13:nonroot@sha256:…
ARG BUILD_IMAGE
ARG BASE_IMAGE

# Compiles on the machine's own architecture for the wanted one, which is many times faster than
# emulating that.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE:?use deploy/image} AS build
ARG BUILDARCH
ARG TARGETARCH
WORKDIR /source
RUN <<'END'
set -eu
case $TARGETARCH in
	amd64) target=x86_64-unknown-linux-gnu gcc=x86-64-linux-gnu ;;
	arm64) target=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu ;;
	*) echo "no build for $TARGETARCH; there is amd64 and arm64" >&2; exit 1 ;;
esac
echo "$target" >/target-triple
# A linker, and a C compiler for the cryptography.
if [ "$TARGETARCH" != "$BUILDARCH" ]; then
	apt-get update
	apt-get install --yes --no-install-recommends "gcc-$gcc" "libc6-dev-$TARGETARCH-cross"
	rm -rf /var/lib/apt/lists/*
	mkdir -p /usr/local/cargo
	printf '[target.%s]\nlinker = "%s-gcc"\n' "$target" "$(echo "$target" | sed s/-unknown//)" >>/usr/local/cargo/config.toml
fi
rustup target add "$target"
END
# Puts the list of what the program is made of into it, where scanners of images look for it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install cargo-auditable --version 0.7.7 --locked
COPY . .
# What `version` says; there is no repository in here to ask.
ARG DATAKIT_OPERATOR_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target,id=datakit-operator-$TARGETARCH \
    cargo auditable build --profile dist --locked --package datakit-operator --target "$(cat /target-triple)" \
    && cp "target/$(cat /target-triple)/dist/datakit-operator" /datakit-operator

# glibc, libm and libgcc_s are all that the program links to; this has them, of the same release as
# above, and no shell.
FROM ${BASE_IMAGE:?use deploy/image}
COPY --from=build /datakit-operator /usr/local/bin/datakit-operator
# By number: Kubernetes can tell from it that this isn't root.
USER 65532:65532
# HTTPS; probes and metrics.
EXPOSE 9543 9544
ENTRYPOINT ["/usr/local/bin/datakit-operator"]
CMD ["serve"]
