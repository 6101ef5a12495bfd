# What the scripts that build, describe and pack the static executable ask of this host. Sourced, at the top of the
# repository, behind targets.sh.
# shellcheck shell=sh disable=SC2034 # others use what is set here

cargo=${CARGO:-cargo}
# The compiler is cargo's neighbour, as with rustup, which is often not on the PATH.
if [ -z "${RUSTC:-}" ]; then
    RUSTC=$(dirname "$cargo")/rustc
    [ -x "$RUSTC" ] && [ "$RUSTC" != ./rustc ] || RUSTC=rustc
    export RUSTC
fi
sysroot=$("$RUSTC" --print sysroot)
rust_host=$("$RUSTC" -vV | sed -n 's/^host: //p')
static_dir=${CARGO_TARGET_DIR:-target}/static
dist_dir=${DIST_DIR:-${CARGO_TARGET_DIR:-target}/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# The target that is meant by $1: where there is none, this processor with musl if Rust has that here, else with glibc.
# musl's executable is smaller, and its bytes depend on nothing but the sources and Rust, which brings musl and linker.
static_target() {
    musl=$(echo "$rust_host" | sed 's/-gnu/-musl/')
    if [ -n "${1:-}" ]; then
        echo "$1"
    elif [ -d "$sysroot/lib/rustlib/$musl/lib" ]; then
        echo "$musl"
    else
        echo "$rust_host"
    fi
}

# Where static.sh leaves the executable of target $1, and beside it etcd-gateway.map, the linker's list of its parts.
static_program() { echo "$static_dir/$1/etcd-gateway"; }

# Prints the commit of the sources, with -dirty where they differ from it; nothing where git does not have them, as in an
# archive that was unpacked, perhaps within another repository.
source_commit() {
    git ls-files --error-unmatch Cargo.toml >/dev/null 2>&1 || return 0
    changed=$(git status --porcelain -- src tests/tools Cargo.toml Cargo.lock Makefile README.md LICENSE)
    echo "$(git rev-parse HEAD)${changed:+-dirty}"
}

# That, as short as `etcd-gateway version` prints it.
short_commit() { source_commit | sed 's/^\([0-9a-f]\{12\}\)[0-9a-f]*/\1/'; }

# When what is packed was written: seconds since 1970 of the last commit, or SOURCE_DATE_EPOCH.
source_time() {
    case ${SOURCE_DATE_EPOCH:-} in
    '') [ -z "$(source_commit)" ] || { git log -1 --format=%ct && return; } ;;
    *[!0-9]*) ;;
    *) echo "$SOURCE_DATE_EPOCH" && return ;;
    esac
    echo "no git here that has the sources: set SOURCE_DATE_EPOCH to their time, in seconds since 1970" >&2
    return 1
}

# Prints "NAME VERSION DIRECTORY" of each package that cargo has for target $1, wherever it takes it from: the registry,
# a mirror, `cargo vendor`.
packages() {
    "$cargo" metadata --locked --format-version 1 --filter-platform "$1" |
        sed 's/{"name":"/\n&/g; s/"manifest_path":"/\n&/g' |
        sed -n 's/^{"name":"\([^"]*\)","version":"\([^"]*\)","id":.*/\1 \2/p; s,^"manifest_path":"\([^"]*\)/Cargo.toml".*,\1,p' |
        paste -d ' ' - -
}
