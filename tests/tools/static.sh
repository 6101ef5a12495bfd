#!/bin/sh
# Builds the program as one static executable, target/static/etcd-gateway, position-independent where the compiler
# can do that for a static one (on x86), and checks that it is one: it asks for no interpreter and no library, has no part of NSS in it (which would look for libraries at run time
# after all), tells nothing of the directory it was built in, and runs where there is nothing else.
#
#   static.sh            for this processor, with glibc
#   static.sh TARGET     for a target of rustup's, x86_64-unknown-linux-musl for instance
#
# The file depends on the sources, Cargo.lock, the compiler and the C library, on nothing else: see repro.sh.
set -eu
cd "$(dirname "$0")/../.."

target=${1:-$(uname -m)-unknown-linux-gnu}
out=${CARGO_TARGET_DIR:-target}/static
program=$out/etcd-gateway
map=$out/etcd-gateway.map
# Most of it is glibc (0.7 MB) and the standard library (0.5 MB). Above this something came in that should be looked at.
size_max=2500000

fail() {
    echo "static: $1" >&2
    exit 1
}

# Flags are separated by a character that no path has; what RUSTFLAGS says elsewhere does not count here.
separator=$(printf '\037')
CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static
set -- "--remap-path-prefix=$PWD=/etcd-gateway" \
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/registry"
# Only glibc has NSS to be looked for in the map, and a linker without a compiler around it takes no -Wl.
case $target in *-gnu) set -- "$@" "-Clink-arg=-Wl,-Map=$map" ;; esac
for flag in "$@"; do
    CARGO_ENCODED_RUSTFLAGS=$CARGO_ENCODED_RUSTFLAGS$separator$flag
done
export CARGO_ENCODED_RUSTFLAGS
mkdir -p "$out"
"${CARGO:-cargo}" build --locked --release --bin etcd-gateway --target "$target" --target-dir "$out"
# A copy, so that nothing is left of an older one; cargo links what it puts there.
cp "$out/$target/release/etcd-gateway" "$program.new"
mv "$program.new" "$program"

readelf -hlWd "$program" >"$out/readelf"
has() { grep -Eq "$1" "$out/readelf"; }
fixed=
case $target in
x86_64-*) has 'Type: +DYN' || fail "$program is not position-independent" ;;
*) has 'Type: +DYN' || fixed=" at a fixed address: rustc has no static-pie for $target" ;;
esac
# What has a fixed address has nothing left to be bound.
[ -n "$fixed" ] || has 'Flags: .*NOW.*PIE' || fail "$program is not bound at start, or is a library"
has 'GNU_RELRO' || fail "$program leaves its relocations writable"
has 'GNU_STACK .* RW ' || fail "$program has an executable stack"
! has 'INTERP' || fail "$program asks for an interpreter"
! has '\(NEEDED\)' || fail "$program asks for a library"
for leaked in "$PWD" "${CARGO_HOME:-$HOME/.cargo}"; do
    ! grep -Fqa "$leaked/" "$program" || fail "$program names a directory of this host, $leaked"
done
case $target in *-gnu)
    grep -q 'libc\.a(' "$map" || fail "$map does not tell what was linked"
    nss=$(grep -Eo 'libc\.a\((getaddrinfo|gethst[a-z_]*|getpw[a-z_]*|getgr(nam|gid|ent)[a-z_]*|nss[a-z_]*)\.o' "$map" |
        sort -u | xargs)
    [ -z "$nss" ] || fail "$program has parts of NSS in it: $nss"
    ;;
esac
size=$(wc -c <"$program")
[ "$size" -le "$size_max" ] || fail "$program has $size bytes, more than $size_max"

case $target in "$(uname -m)"-*)
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    cp "$program" "$root/etcd-gateway"
    as_root=
    [ "$(id -u)" = 0 ] || as_root="unshare --map-root-user"
    if $as_root chroot "$root" /etcd-gateway version >"$out/version" 2>&1; then
        echo "runs in an empty directory: $(cat "$out/version")"
    elif $as_root chroot / true 2>/dev/null; then
        fail "$program does not run in an empty directory: $(cat "$out/version")"
    else
        echo "static: NOT RUN in an empty directory, for which this host gives no right" >&2
    fi
    ;;
esac
if command -v file >/dev/null; then file "$program"; fi
sha256sum "$program"
echo "static: $program, $size bytes, is one static executable$fixed"
