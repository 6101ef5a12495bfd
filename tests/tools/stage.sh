# What the scripts that pack have in common: which targets, and a directory of what is packed for one. Sourced, at the
# top of the repository, behind targets.sh and host.sh.
# shellcheck shell=sh

named=$#
time=$(source_time)
export SOURCE_DATE_EPOCH="$time"
commit=$(source_commit)
case $commit in
*-dirty) echo "NOT A COMMIT: the sources differ from ${commit%-*}, whose time what is packed here has" >&2 ;;
esac

# The targets that are named, or else one for each processor of the table: with musl, or with glibc where the table has no musl.
targets_to_pack() {
    [ $# = 0 ] || { echo "$*" && return; }
    targets | while read -r target; do
        case $target in *-musl*) ;; *) [ -z "$(target_linker "${target%-gnu*}-musl")" ] || continue ;; esac
        echo "$target"
    done
}

# Builds for target $1, or says what this host lacks for that and fails. What is named has to be built.
built() {
    lacks=$(target_lacks "$1")
    if [ -n "$lacks" ]; then
        echo "NOT PACKED for $1: $lacks" >&2
        [ "$named" = 0 ] || exit 1
        return 1
    fi
    tests/tools/static.sh "$1" >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
    tests/tools/parts.sh "$1" >"$PARTS" || exit 1
    tests/tools/sbom.sh "$1" "$work/bom" >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
}

# Lays what `make install` installs, of target $1, below directory $2, for prefix $3; further words are variables of it.
# Nothing of the caller's environment or of a make above has a say.
stage() {
    target=$1 to=$2 prefix=$3
    shift 3
    program=$(static_program "$target")
    runner=$(target_runner "$target")
    case $runner in *ld-linux*) runner= ;; esac
    env -u MAKEFLAGS -u MFLAGS make -s install BINARY="$program" GENERATOR="${runner:+$runner }\"$program\"" DESTDIR="$to" \
        PREFIX="$prefix" BINDIR="$prefix/bin" UNITDIR="$prefix/lib/systemd/system" MANDIR="$prefix/share/man" \
        SHAREDIR="$prefix/share/etcd-gateway" \
        BASHDIR="$prefix/share/bash-completion/completions" ZSHDIR="$prefix/share/zsh/site-functions" \
        FISHDIR="$prefix/share/fish/vendor_completions.d" "$@"
}

# Lays the texts for target $1, which has just been built, into directory $2.
documents() {
    install -d "$2"
    install -m 644 README.md LICENSE "$2/"
    install -m 644 "$work/bom" "$2/etcd-gateway.cdx.json"
    tests/tools/licences.sh "$1" "$2/licenses"
}

# Makes the modes and times below directory $1 those of every host.
uniform() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -type f -perm /100 -exec chmod 755 {} +
    find "$1" -type f ! -perm /100 -exec chmod 644 {} +
    find "$1" -exec touch -h -d "@$time" {} +
}

# Writes an archive of what is named ($2...) below directory $1, the same on every host, to the standard output.
archive() {
    from=$1
    shift
    LC_ALL=C tar -c -C "$from" --format=ustar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner "$@"
}

# Finds the packages in their directory, where other files may lie; further words are find's.
packages_there() {
    find "$dist_dir" -maxdepth 1 -type f \( -name 'etcd-gateway-*.tar.gz' -o -name 'etcd-gateway-*.oci.tar' -o \
        -name 'etcd-gateway_*.deb' \) "$@"
}

# Lists them, with SHA-256.
sums() {
    [ -n "$(packages_there)" ] || { echo "$1: nothing to pack" >&2 && exit 1; }
    packages_there -exec touch -d "@$time" {} +
    (cd "$dist_dir" && dist_dir=. && packages_there -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
    touch -d "@$time" "$dist_dir/SHA256SUMS"
    echo "$1: $dist_dir/SHA256SUMS"
    cat "$dist_dir/SHA256SUMS"
}

mkdir -p "$dist_dir"
# What is of another commit goes, and the list, until it is written again.
rm -f "$dist_dir/SHA256SUMS"
packages_there | while read -r file; do
    [ "$(stat -c %Y "$file")" = "$time" ] || rm -f "$file"
done
work=$(mktemp -d)
# What parts.sh says of the target that is being packed, so that it is asked once.
export PARTS="$work/parts"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
