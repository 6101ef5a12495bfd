#!/bin/sh
# Builds the program as one static executable, target/static/etcd-gateway, position-independent where the compiler can
# do that for a static one (on x86), and checks that it is one: it asks for no interpreter and no library, has no part
# of NSS in it (which would look for libraries at run time after all), tells nothing of the host it was built on, runs
# where there is nothing else, and serves a connection there.
#
#   static.sh            for this processor, with musl; with glibc where Rust has no musl here
#   static.sh TARGET     for a target of the table in targets.sh, or another of rustup's; run under an emulator if it
#                        is for another processor
#
# What was built for a target stays in target/static/TARGET, with the linker's map of it. The bytes depend on the
# sources, their commit (SOURCE_COMMIT, where git does not tell it), Cargo.lock and the compiler, with glibc also on that
# and the linker, on nothing else: see repro.sh.
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh

target=$(static_target "${1:-}")
program=$(static_program "$target")
map=$program.map
# Much of it is the C library (0.8 MB more of glibc than of musl), Rust's (0.5 MB) and the manual (0.15 MB): 2.9 and 2.1 MB together. Above this
# something came in that should be looked at. A build that is not optimised (repro.sh quick) is larger, and has what is never called.
case $target in
*-musl*) size_max=2200000 ;;
powerpc64le-* | s390x-*) size_max=3200000 ;; # parts begin on pages of 64 KiB; long instructions
*) size_max=3000000 ;;
esac
size_max=${STATIC_SIZE_MAX:-$size_max}

fail() {
    echo "static: $1" >&2
    exit 1
}

# The linker that is set, in cargo's way, or that of the table if it is here; otherwise cargo chooses.
setting=$(target_setting "$target")
linker=$(printenv "${setting%%=*}" || true)
if [ -z "$linker" ]; then
    linker=${setting#*=}
    case $linker in
    rust-lld) [ -x "$(dirname "$("$RUSTC" --print target-libdir)")/bin/rust-lld" ] || linker= ;;
    *) [ "$target" != "$rust_host" ] && command -v "$linker" >/dev/null || linker= ;;
    esac
    [ -z "$linker" ] || export "${setting%%=*}=$linker"
fi
# A linker without a compiler around it takes no -Wl.
case $linker in *lld | *ld) to_linker= ;; *) to_linker=-Wl, ;; esac

# Each directory that the compiler may name, under a name that is the same everywhere; of several that fit, it takes the
# last. Rust's own sources are named like this already, unless the component rust-src has them here.
rust_commit=$("$RUSTC" -vV | sed -n 's/^commit-hash: //p')
crates=$(packages "$target" | while read -r name number dir; do
    [ "$dir" = "$(pwd -P)" ] || echo "--remap-path-prefix=$dir=/deps/$name-$number"
done)
[ -n "$crates" ] || fail "cargo metadata does not name the packages"
# Flags are separated by a character that no path has; what RUSTFLAGS says elsewhere does not count here.
separator=$(printf '\037')
CARGO_ENCODED_RUSTFLAGS=$(
    cat <<END | paste -s -d "$separator" -
-Ctarget-feature=+crt-static
-Clink-arg=$to_linker-Map=$map
--remap-path-prefix=$(pwd -P)=/etcd-gateway
--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$rust_commit
$crates
END
)
export CARGO_ENCODED_RUSTFLAGS
SOURCE_COMMIT=${SOURCE_COMMIT-$(short_commit)}
export SOURCE_COMMIT
mkdir -p "$(dirname "$program")"
# One at a time: a build for another target puts its program into the same place.
exec 9>"$static_dir/lock"
flock 9
built=$static_dir/$target/release/etcd-gateway
# The map is written by the linker, which cargo does not call again for it alone.
[ -s "$map" ] || rm -f "$built"
"$cargo" build --locked --release --bin etcd-gateway --target "$target" --target-dir "$static_dir"
# Copies, so that nothing is left of older ones; cargo links what it puts there.
for copy in "$program" "$static_dir/etcd-gateway"; do
    cp "$built" "$copy.new"
    mv "$copy.new" "$copy"
done

readelf -hlWd "$program" >"$program.readelf"
has() { grep -Eq "$1" "$program.readelf"; }
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
# HOME may be / in a container, which each path begins with.
for leaked in "$(pwd -P)" "${CARGO_HOME:-$HOME/.cargo}" "$sysroot" "${HOME%/}"; do
    [ -z "$leaked" ] || ! grep -Fqa "$leaked/" "$program" || fail "$program names a directory of this host, $leaked"
done
grep -q 'libc\.a[(:]' "$map" || fail "$map does not tell what was linked"
# What uses NSS with glibc, in musl too: that the program needs none of it is seen there as well.
nss=$(grep -Eo 'libc\.a[(:](getaddrinfo|gethst[a-z_]*|getpw[a-z_]*|getgr(nam|gid|ent)[a-z_]*|nss[a-z_]*)\.l?o' "$map" |
    sort -u | xargs)
[ -n "${STATIC_SIZE_MAX:-}" ] || [ -z "$nss" ] || fail "$program has parts of NSS in it: $nss"
size=$(wc -c <"$program")
[ "$size" -le "$size_max" ] || fail "$program has $size bytes, more than $size_max"

# A static program needs of its runner the emulator alone.
emulator=$(target_runner "$target")
case $emulator in *ld-linux*) emulator= ;; *) emulator=${emulator%% *} ;; esac
if [ -n "$emulator" ] && ! command -v "$emulator" >/dev/null; then
    echo "static: NOT RUN: no $emulator for $target (make deps)" >&2
else
    root=$(mktemp -d)
    running=
    # shellcheck disable=SC2086 # one word a process
    trap '[ -z "$running" ] || kill $running 2>/dev/null; rm -rf "$root"' EXIT
    trap 'exit 130' HUP INT TERM
    mkdir "$root/empty"
    cp "$program" "$root/empty/etcd-gateway"
    [ -z "$emulator" ] || cp "$(command -v "$emulator")" "$root/empty/emulator"
    # The words that run it.
    set --
    [ "$(id -u)" = 0 ] || set -- unshare --map-root-user
    if "$@" chroot / true 2>/dev/null; then
        set -- "$@" chroot "$root/empty" ${emulator:+/emulator} /etcd-gateway
        where="in an empty directory"
    else
        echo "static: NOT RUN in an empty directory, for which this host gives no right" >&2
        set -- ${emulator:+"$emulator"} "$program"
        where="here"
    fi
    "$@" version >"$root/version" 2>&1 || fail "$program does not run $where: $(cat "$root/version")"

    # The address that a record of log $1 ($2: a word of it) names in field $3, once it is there.
    address() {
        for _ in $(seq 300); do
            found=$(sed -n "/\"msg\":\"$2/s/.*\"$3\":\[*\"\([^\"]*\)\".*/\1/p" "$1")
            [ -z "$found" ] || { echo "$found" && return; }
            sleep 0.1
        done
        fail "no \"$2\" $where: $(cat "$1")"
    }
    if ! grep -q '127\.0\.0\.1$' /proc/net/fib_trie; then
        echo "static: NO CONNECTION MADE: the loopback interface is down" >&2
        serves=
    else
        # One process has a server, that of its metrics; a second forwards to it; a third asks through the second how it is.
        any=127.0.0.1:0
        : >"$root/server" >"$root/gateway"
        "$@" start --listen-addr=$any --metrics-addr=$any --endpoints=127.0.0.1:1 2>"$root/server" &
        running=$!
        server=$(address "$root/server" "serving metrics" address)
        "$@" start --listen-addr=$any --endpoints="$server" 2>"$root/gateway" &
        running="$running $!"
        gateway=$(address "$root/gateway" "ready to proxy" listen)
        "$@" check --endpoints="$gateway" --health-check="http://:${gateway##*:}/healthz" >"$root/check" 2>&1 ||
            fail "$program passes no connection on $where: $(cat "$root/check" "$root/gateway")"
        serves=" and serves"
    fi
    echo "runs$serves $where${emulator:+, by $emulator}: $(cat "$root/version")"
fi
if command -v file >/dev/null; then file "$program"; fi
sha256sum "$program"
echo "static: $program, $size bytes, is one static executable$fixed"
