#!/bin/sh
# Packs the static executable for each target into target/dist/etcd-gateway-VERSION-TARGET.tar.gz: the program, units,
# manual, completions, README, the licences of all parts and the bill of materials, to be unpacked below /usr/local
# (tar -x --strip-components=1 --no-overwrite-dir -C /usr/local). SHA256SUMS beside them lists what lies there. The same commit, compiler
# and C library give the same bytes: times are that of the commit, or SOURCE_DATE_EPOCH.
#
#   dist.sh [TARGET…]    those, or one for each processor that this host can build for
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh
. tests/tools/stage.sh

rm -f "$dist_dir"/etcd-gateway-*.tar.gz
for target in $(targets_to_pack "$@"); do
    built "$target" || continue
    name=etcd-gateway-$version-$target
    stage "$target" "$work/$name" /usr/local
    mv "$work/$name/usr/local"/* "$work/$name/"
    rm -r "$work/$name/usr"
    documents "$target" "$work/$name/share/doc/etcd-gateway"
    uniform "$work/$name"
    archive "$work" "$name" | gzip -9n >"$dist_dir/$name.tar.gz"
done
sums dist
