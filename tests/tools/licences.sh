#!/bin/sh
# Puts the texts of the licences of all parts of a static executable (parts.sh) below a directory: those that the
# packages, the compiler and the C library came with. A part without a text is an error.
#
#   PARTS=FILE licences.sh TARGET DIR    FILE is what parts.sh printed
#
# musl comes with Rust, without its text: that is taken from Debian's package musl, or from the file that MUSL_COPYRIGHT
# names (COPYRIGHT in the sources of musl). glibc's is that of the package that its libc.a is in.
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh

target=$1
dir=$2
rust_doc=$sysroot/share/doc/rust
mkdir -p "$dir"
packages "$target" >"$dir/packages"

fail() {
    echo "licences: $1" >&2
    exit 1
}
# Copies one of the texts that Rust has by their SPDX names ($2...) to the directory of a part ($1).
spdx() {
    to=$dir/$1
    mkdir -p "$to"
    shift
    for text in "$@"; do
        cp "$rust_doc/licenses/$text.txt" "$to/" || fail "no text of $text in $rust_doc/licenses"
    done
}

while IFS='|' read -r group name number _ _ _ _ _ files _; do
    to=$dir/$name-$number
    case $group in
    program) ;;
    package)
        from=$(sed -n "s,^$name $number ,,p" "$dir/packages")
        mkdir -p "$to"
        find "$from" -maxdepth 1 -type f \( -iname 'LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'COPYRIGHT*' -o -iname 'NOTICE*' \) \
            -exec cp {} "$to/" \;
        [ -n "$(ls "$to")" ] || fail "no text in $from"
        ;;
    crate)
        # Rust has the notices of each package in a page; of some only those of another release.
        mkdir -p "$to"
        for page in COPYRIGHT-library COPYRIGHT; do
            awk -v name="$name" -v exact="$name-$number" '
                /📦/ {
                    here = $0; gsub(/.*📦 |<.*/, "", here)
                    release = here; sub(/-[0-9]+\..*/, "", release)
                    if (release != name || found == exact) { keep = 0; next }
                    text = ""; found = here; keep = 1
                }
                keep { text = text $0 "\n" }
                END { printf "%s", text }' "$rust_doc/$page.html" |
                sed 's/<[^>]*>//g; s/&#34;/"/g; s/&#39;/'"'"'/g; s/&#60;/</g; s/&#62;/>/g; s/&amp;/\&/g' >"$to/NOTICES"
            [ ! -s "$to/NOTICES" ] || break
        done
        [ -s "$to/NOTICES" ] || fail "no notices of $name in $rust_doc"
        ;;
    rust)
        spdx "$name-$number" Apache-2.0 MIT Unicode-3.0 LLVM-exception
        # What is in its own sources; the packages follow.
        sed '/Out-of-tree dependencies<\/h2>/,$d; s/<[^>]*>//g' "$rust_doc/COPYRIGHT-library.html" >"$to/COPYRIGHT"
        ;;
    c)
        case $name in
        llvm-libunwind) spdx "$name-$number" Apache-2.0 LLVM-exception ;;
        gcc-runtime) spdx "$name-$number" GPL-3.0-or-later GCC-exception-3.1 ;;
        musl)
            mkdir -p "$to"
            cp "${MUSL_COPYRIGHT:-/usr/share/doc/musl/copyright}" "$to/COPYRIGHT" 2>/dev/null ||
                fail "no text of musl's licence: install Debian's package musl, or say MUSL_COPYRIGHT=file"
            ;;
        glibc)
            mkdir -p "$to"
            archive=$(grep -oE '/[^ ():]*/libc\.a' "$(static_program "$target").map" | head -n 1)
            package=$(dpkg -S "$(realpath "$archive")" 2>/dev/null | sed 's/:.*//' | head -n 1)
            cp "/usr/share/doc/${package:-none}/copyright" "$to/COPYRIGHT" 2>/dev/null ||
                cp "${GLIBC_COPYRIGHT:-/usr/share/licenses/glibc/COPYING.LIB}" "$to/COPYRIGHT" 2>/dev/null ||
                fail "no text of glibc's licence: say GLIBC_COPYRIGHT=file"
            [ ! -f /usr/share/common-licenses/LGPL-2.1 ] || cp /usr/share/common-licenses/LGPL-2.1 "$to/"
            ;;
        *) fail "no text of $name" ;;
        esac
        ;;
    esac
done <"$PARTS"
rm "$dir/packages"
