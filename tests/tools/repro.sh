#!/bin/sh
# Builds the static executable twice, from two copies of the sources in two places, and compares the bytes. What may
# differ between two hosts differs between the two: the directory, its length, the home of cargo, the number of jobs,
# the locale, the time zone, the umask. What may not is the compiler, the linker and the C library; they are printed.
#
#   repro.sh [TARGET]    as static.sh
#
# Nothing is fetched: what Cargo.lock names has to be in cargo's home already (`cargo fetch --locked` puts it there).
set -eu
cd "$(dirname "$0")/../.."

home=${CARGO_HOME:-$HOME/.cargo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/a" "$work/and-another-one" "$work/home"
for copy in a and-another-one; do
    tar -c --exclude=./target --exclude='./tests/*/target' --exclude=./.git . | tar -x -C "$work/$copy"
done
cp -R "$home/registry" "$work/home/"
# Where packages come from may be configured: a mirror, or directories of a network without one.
for config in config.toml config; do
    [ ! -f "$home/$config" ] || cp "$home/$config" "$work/home/"
done

unset CARGO_TARGET_DIR
export CARGO_NET_OFFLINE=true
(cd "$work/a" && tests/tools/static.sh "$@" >"$work/a.log" 2>&1) || { cat "$work/a.log" >&2 && exit 1; }
(
    cd "$work/and-another-one"
    umask 077
    # rustup and its compilers are found by the real home.
    export CARGO_HOME="$work/home" CARGO_BUILD_JOBS=1 LC_ALL=C.UTF-8 TZ=Asia/Kathmandu
    tests/tools/static.sh "$@" >"$work/b.log" 2>&1
) || { cat "$work/b.log" >&2 && exit 1; }

first=$work/a/target/static/etcd-gateway
second=$work/and-another-one/target/static/etcd-gateway
echo "with $("${RUSTC:-rustc}" --version), $(ldd --version 2>/dev/null | head -n 1)"
if ! cmp "$first" "$second"; then
    sha256sum "$first" "$second"
    echo "repro: the same sources gave two different executables" >&2
    exit 1
fi
sha256sum "$first" | sed "s, .*, etcd-gateway,"
echo "repro: two builds, in two places, are the same $(wc -c <"$first") bytes"
