#!/bin/sh
# Builds the static executable three times and compares the bytes. What may differ between two hosts differs between the
# three:
#
#   first   as it is here
#   second  packages from a directory, as `cargo vendor` makes it; another home of the user, of cargo and of Rust, the
#           last with the component rust-src if it is not here, else without; one job, locale, time zone, umask
#   third   packages from a mirror under another name, where cargo has what is needed to make one (otherwise from another
#           directory); another home of cargo; the target directory elsewhere
#
# and for all the directory and its length. What may not differ, the compiler, and with glibc that and the linker, is
# printed. Nothing is fetched: what Cargo.lock names has to be in cargo's home, or where its configuration says, already
# (`cargo fetch --locked`, `cargo vendor --locked`).
#
#   repro.sh [TARGET]         as static.sh
#   repro.sh quick [TARGET]   the first and the second, not optimised: a tenth of the time, and the same paths
set -eu
cd "$(dirname "$0")/../.."
unset CARGO_TARGET_DIR
. tests/tools/targets.sh
. tests/tools/host.sh
case $cargo in */*) cargo=$(cd "$(dirname "$cargo")" && pwd)/cargo ;; *) cargo=$(command -v "$cargo") ;; esac
export CARGO="$cargo" CARGO_NET_OFFLINE=true RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"

builds="first second third"
if [ "${1:-}" = quick ]; then
    shift
    builds="first second"
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    export STATIC_SIZE_MAX=20000000
fi
target=$(static_target "${1:-}")
# Below the sources: where a hard link from Rust's home is possible, if anywhere.
mkdir -p target
work=$(mktemp -d "$PWD/target/repro.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

first=$work/a
second=$work/and-another-one-with-a-longer-name
third=$work/third
for copy in "$first" "$second" "$third"; do
    mkdir "$copy"
    tar -c --exclude=./target --exclude='./tests/*/target' --exclude=./.git . | tar -x -C "$copy"
done
# The second and the third take packages from where their homes of cargo say.
rm -rf "$second/.cargo" "$second/vendor" "$third/.cargo" "$third/vendor"

# Makes of $1 a directory of all that Cargo.lock names. What is for other targets only need not be here (cargo fetches
# what it builds): of that there is but a name, which is all that is asked for.
vendored() {
    mkdir -p "$1"
    packages "$target" | while read -r name number dir; do
        [ "$dir" = "$(pwd -P)" ] || [ ! -d "$dir" ] || cp -R "$dir" "$1/$name"
    done
    # A feature is anything in quotes that a package says of another.
    features=$(cat "$1"/*/Cargo.toml | grep -o '"[A-Za-z0-9_]\{1,\}"' | sort -u | sed 's/$/ = []/')
    manifest=
    sed 's/[",]//g' Cargo.lock | while read -r key _ value; do
        case $key in
        name) name=$value manifest= ;;
        version) number=$value ;;
        checksum)
            if [ ! -d "$1/$name" ]; then
                manifest=$1/$name/Cargo.toml
                mkdir -p "$1/$name/src"
                : >"$1/$name/src/lib.rs"
                printf '[package]\nname = "%s"\nversion = "%s"\n[features]\n%s\n' "$name" "$number" "$features" >"$manifest"
            fi
            echo "{\"files\":{},\"package\":\"$value\"}" >"$1/$name/.cargo-checksum.json"
            ;;
        dependencies) [ -z "$manifest" ] || echo '[dependencies]' >>"$manifest" ;;
        '[[package]]' | source | ']' | '') ;;
        # An item of the list of dependencies, of which each package of ours has one version.
        *) [ -z "$manifest" ] || echo "$key = \"*\"" >>"$manifest" ;;
        esac
    done
}

# A home of cargo ($1) that takes packages from $2, a directory of $3.
cargo_home() {
    mkdir -p "$1"
    printf '[source.crates-io]\nreplace-with = "elsewhere"\n[source.elsewhere]\n%s = "%s"\n' "$3" "$2" >"$1/config.toml"
}

vendored "$work/vendor"
cargo_home "$work/home-of-cargo" "$work/vendor" directory
# What cargo has of crates.io, packages and index, is a mirror once it lies as one: name.crate, index/na/me/name.
registry=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/index/index.crates.io-*/.cache)
if [ -d "$registry" ]; then
    mkdir -p "$work/mirror/index"
    cp "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/index.crates.io-*/*.crate "$work/mirror/"
    (cd "$registry" && find . -type f) | while read -r entry; do
        mkdir -p "$work/mirror/index/${entry%/*}"
        tr '\0' '\n' <"$registry/$entry" | grep -a '^{' >"$work/mirror/index/$entry"
    done
    cargo_home "$work/other-home" "$work/mirror" local-registry
else
    mv "$work/vendor" "$work/mirror" && vendored "$work/vendor"
    cargo_home "$work/other-home" "$work/mirror" directory
fi

# Rust's home once more, of hard links. Its tools find the rest from where they are.
rust=$work/rust
mkdir -p "$rust"
case $sysroot in
/usr | /usr/local) rust= && echo "repro: NOT VARIED: the home of Rust, which is $sysroot" >&2 ;;
*)
    for part in bin lib; do cp -al "$sysroot/$part" "$rust/" 2>/dev/null || cp -a "$sysroot/$part" "$rust/"; done
    if [ -d "$rust/lib/rustlib/src" ]; then
        rm -rf "$rust/lib/rustlib/src"
    else
        # By this file rustc knows that it has them.
        mkdir -p "$rust/lib/rustlib/src/rust/library/std/src"
        : >"$rust/lib/rustlib/src/rust/library/std/src/lib.rs"
    fi
    ;;
esac

first() { cd "$first" && tests/tools/static.sh "$target"; }
second() {
    cd "$second"
    umask 077
    export HOME="$work/home" CARGO_HOME="$work/home-of-cargo" CARGO_BUILD_JOBS=1 LC_ALL=C.UTF-8 TZ=Asia/Kathmandu
    mkdir "$HOME"
    if [ -n "$rust" ]; then
        export RUSTC="$rust/bin/rustc"
        [ ! -x "$rust/bin/cargo" ] || CARGO=$rust/bin/cargo
    fi
    tests/tools/static.sh "$target"
}
third() {
    cd "$third"
    export CARGO_HOME="$work/other-home" CARGO_TARGET_DIR="$work/elsewhere"
    tests/tools/static.sh "$target"
}

program=$(static_program "$target")
for build in $builds; do
    ("$build") >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
done
echo "with $("$RUSTC" --version)$(case $target in *-gnu*) ldd --version 2>/dev/null | sed 's/^/, /;q' ;; esac)"
for other in "$second/$program" "$work/elsewhere/static/$target/etcd-gateway"; do
    [ -e "$other" ] || continue
    if ! cmp "$first/$program" "$other"; then
        sha256sum "$first/$program" "$other"
        echo "repro: the same sources gave different executables" >&2
        exit 1
    fi
done
sha256sum "$first/$program" | sed "s, .*,  $target/etcd-gateway,"
echo "repro: the builds ($builds) are the same $(wc -c <"$first/$program") bytes"
