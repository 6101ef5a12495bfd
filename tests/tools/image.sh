#!/bin/sh
# Packs the static executable as an image for containers, target/dist/etcd-gateway-VERSION.oci.tar: an archive in the
# layout of OCI (opencontainers/image-spec: image-layout.md, image-index.md, manifest.md, config.md), from scratch and
# without docker. `skopeo copy oci-archive:FILE docker://…` brings it to a registry. One image for each target, behind
# one index: whoever pulls gets that of his processor. In it are the executable, the bill of materials and the licences.
#
#   image.sh [TARGET…]    those, or one for each processor that this host can build for
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh
. tests/tools/stage.sh

image=$work/image
blobs=$image/blobs/sha256
created=$(date -u -d "@$time" +%Y-%m-%dT%H:%M:%SZ)
mkdir -p "$blobs"

# The platform in OCI's words, which are Go's.
platform() {
    case $1 in
    x86_64-*) echo '"architecture": "amd64"' ;;
    i686-*) echo '"architecture": "386"' ;;
    aarch64-*) echo '"architecture": "arm64", "variant": "v8"' ;;
    armv7-*) echo '"architecture": "arm", "variant": "v7"' ;;
    riscv64gc-*) echo '"architecture": "riscv64"' ;;
    powerpc64le-*) echo '"architecture": "ppc64le"' ;;
    s390x-*) echo '"architecture": "s390x"' ;;
    *) echo "image: OCI has no architecture for $1" >&2 && exit 1 ;;
    esac
}

# Takes the standard input in as a blob of media type $1; prints its descriptor, without the closing brace.
blob() {
    cat >"$work/blob"
    digest=$(sha256sum "$work/blob" | cut -d' ' -f1)
    printf '{"mediaType": "application/vnd.oci.image.%s", "digest": "sha256:%s", "size": %d' "$1" "$digest" \
        "$(wc -c <"$work/blob")"
    mv "$work/blob" "$blobs/$digest"
}

title() { printf '"org.opencontainers.image.%s": "%s"' "$1" "$2"; }
labels="$(title title etcd-gateway), $(title version "$version"), $(title created "$created"), $(title licenses Apache-2.0),
$(title description "$(sed -n 's/^description = "\(.*\)"/\1/p' Cargo.toml)")${commit:+, $(title revision "$commit")}"

rm -f "$dist_dir"/etcd-gateway-*.oci.tar
manifests=
for target in $(targets_to_pack "$@"); do
    built "$target" || continue
    platform=$(platform "$target")
    root=$work/$target
    install -D -m 755 "$(static_program "$target")" "$root/etcd-gateway"
    documents "$target" "$root/usr/share/doc/etcd-gateway"
    uniform "$root"
    archive "$root" etcd-gateway usr >"$work/layer"
    layer=$(gzip -9n <"$work/layer" | blob layer.v1.tar+gzip)
    config=$(blob config.v1+json <<END
{"created": "$created", $platform, "os": "linux",
"config": {"User": "65532:65532", "Entrypoint": ["/etcd-gateway", "start"], "Labels": {$labels}},
"rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum "$work/layer" | cut -d' ' -f1)"]},
"history": [{"created": "$created", "created_by": "etcd-gateway $version for $target"}]}
END
    )
    manifest=$(blob manifest.v1+json <<END
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
"config": $config}, "layers": [$layer}], "annotations": {$labels}}
END
    )
    manifests="$manifests${manifests:+,
}$manifest, \"platform\": {$platform, \"os\": \"linux\"}}"
done
[ -n "$manifests" ] || sums image
index=$(blob index.v1+json <<END
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
$manifests], "annotations": {$labels}}
END
)
cat >"$image/index.json" <<END
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
$index, "annotations": {$(title ref.name "$version")}}]}
END
echo '{"imageLayoutVersion": "1.0.0"}' >"$image/oci-layout"
uniform "$image"
archive "$image" oci-layout index.json blobs >"$dist_dir/etcd-gateway-$version.oci.tar"
sums image
