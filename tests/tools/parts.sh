#!/bin/sh
# Lists what the static executable of a target consists of, one part a line, from what was linked and not from what was
# meant to be: the linker's map names the objects and archives, cargo the packages, the compiler the crates of Rust's
# library that it loads with std. An object that belongs to no part that is known here is an error.
#
#   parts.sh [TARGET]    of the executable that static.sh has built
#
# Fields, separated by |, empty where there is none:
#   1 group: program, package (of Cargo.lock), rust (its library), crate (that Rust's library brings), c (C code)
#   2 name  3 version  4 licence (SPDX)  5 supplier  6 package URL  7 CPE  8 SHA-256
#   9 files that were linked  10 repository or home page  11 names of the parts that it needs  12 how its maker calls it
#
# Versions are read from the very files: a crate's metadata has the directory that it was built in (/rust/deps/NAME-VERSION),
# libc.a the version of its C library, an object of GCC the version of that. LLVM's libunwind is of the compiler's sources.
# The checksum of a package is that of Cargo.lock, of the file for what was linked as one.
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh

target=$(static_target "${1:-}")
program=$(static_program "$target")
libdir=$("$RUSTC" --print target-libdir --target "$target")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

fail() {
    echo "parts: $1" >&2
    exit 1
}
[ -f "$program" ] && [ -f "$program.map" ] || fail "no $program with its map (make static TARGET=$target)"
sum() { sha256sum "$1" | cut -d' ' -f1; }
# A line, of all its fields.
part() (IFS='|' && echo "$*")

# The inputs that left something in the file: LLD lists only those, GNU ld below a headline, in another form.
awk '/^Linker script and memory map/ { seen = 1 }
    NR == 1 && /VMA.*LMA/ { seen = 1 }
    !seen || /^(LOAD|START GROUP|END GROUP|OUTPUT)/ { next }
    match($0, /\/[^ ():]*\.(o|a|rlib)([:( ]|$)/) { file = substr($0, RSTART, RLENGTH); sub(/[:( ]$/, "", file); print file }' \
    "$program.map" | sort -u >"$work/linked"
[ -s "$work/linked" ] || fail "$program.map names no object"

# Each input that matches a pattern ($1) is of one part; prints their names, and leaves the others in $work/linked.
take() {
    grep -E "$1" "$work/linked" >"$work/taken" || true
    grep -Ev "$1" "$work/linked" >"$work/rest" || true
    mv "$work/rest" "$work/linked"
    sed 's,.*/,,' "$work/taken" | sort -u | xargs
}
# The first of the inputs just taken that matches; its path.
taken() { grep -E "$1" "$work/taken" | head -n 1; }

# The program and all of Rust's crates are one object, whose name tells nothing.
take '/etcd_gateway-[^/]*\.o$|/rustc[^/]*/symbols\.o$' >/dev/null
{
    rust=$("$RUSTC" -vV | sed -n 's/^release: //p')
    llvm=$("$RUSTC" -vV | sed -n 's/^LLVM version: //p')
    rust_files=$(take "^$libdir/lib[^/]*\.rlib$")

    # Rust's notices have the licence of each package that it is built with, for some only that of another release.
    cat "$sysroot"/share/doc/rust/COPYRIGHT-library.html "$sysroot"/share/doc/rust/COPYRIGHT.html 2>/dev/null |
        sed -nE 's/<[^>]*>//g; s/^[^A-Za-z]*📦 (.*)-([0-9]+\.[0-9].*)$/\1|\2/p; s/^ *License: (.*)/\1/p' |
        awk '/\|/ { package = $0; next } package != "" { sub("/", " OR "); print package "|" $0; package = "" }' \
            >"$work/notices"

    # What every program with std loads, in the words of the compiler (an unstable flag, which changes nothing built).
    echo 'fn main() {}' | RUSTC_BOOTSTRAP=1 "$RUSTC" -Zbinary-dep-depinfo --emit="dep-info=$work/dep" \
        --target "$target" -Ctarget-feature=+crt-static -
    tr ' :' '\n\n' <"$work/dep" | grep -E "^$libdir/lib[^/]*\.(rmeta|rlib)$" | sort -u >"$work/crates"
    grep -q '/libstd-' "$work/crates" || fail "the compiler does not name the crates of its library"
    crates=
    while read -r file; do
        crate=${file##*/lib}
        crate=$(echo "${crate%-*}" | tr - _)
        # Of its own sources, or in which release of a package?
        found=$(grep -aoE '/rust/deps/[A-Za-z0-9_-]+-[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*/' "$file" | sort -u |
            sed -E 's,/rust/deps/(.*)-([0-9]+\.[0-9].*)/,\1 \2,' |
            while read -r name number; do
                [ "$(echo "$name" | tr - _)" != "$crate" ] || echo "$name $number"
            done | head -n 1)
        if [ -z "$found" ]; then
            grep -qaE '/rustc/[0-9a-f]{40}/library/' "$file" || fail "which version of $crate is $file?"
            continue
        fi
        name=${found% *}
        number=${found#* }
        licence=$(awk -F '|' -v name="$name" -v number="$number" '$1 != name { next }
            $2 == number { exact = $3 } { other = $3 } END { print exact != "" ? exact : other }' "$work/notices")
        [ -n "$licence" ] || fail "no licence of $name $number in $sysroot/share/doc/rust"
        library=${file%.*}.rlib
        crates="$crates,$name@$number"
        part crate "$name" "$number" "$licence" crates.io "pkg:cargo/$name@$number" "" "$(sum "$library")" "${library##*/}" \
            "https://crates.io/crates/$name" "" ""
    done <"$work/crates"

    case $target in
    *-musl*) c_library=musl ;;
    *) c_library=glibc ;;
    esac
    c_files=$(take '/(libc|libm|libpthread|librt|libdl|libutil|libresolv)\.a$|/(|r|S|g)crt1\.o$|/crt[in]\.o$')
    archive=$(taken '/libc\.a$')
    [ -n "$archive" ] || fail "$program.map names no libc.a"
    if [ $c_library = musl ]; then
        # A member of the archive has the version as a text of its own.
        named=$(ar p "$archive" version.lo | strings -a | grep -Ex '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)
        licence=MIT supplier="musl libc" url=https://musl.libc.org/ cpe=a:musl-libc:musl number=$named
        named="musl $named"
    else
        named=$(grep -aoE 'GNU C Library \([^)]*\) [a-z]+ release version [0-9.]*[0-9]' "$archive" | head -n 1)
        licence=LGPL-2.1-or-later supplier="GNU Project" url=https://www.gnu.org/software/libc/ cpe=a:gnu:glibc
        number=${named##* }
    fi
    [ -n "$number" ] || fail "which version has $archive?"
    part c $c_library "$number" $licence "$supplier" "pkg:generic/$c_library@$number" "$cpe:$number" "$(sum "$archive")" \
        "$c_files" "$url" "" "$named"
    needs=",$c_library@$number"

    unwind_files=$(take '/libunwind\.a$')
    if [ -n "$unwind_files" ]; then
        file=$(taken .)
        case $file in "$libdir"/*) ;; *) fail "$file is not of the compiler" ;; esac
        part c llvm-libunwind "$llvm" "Apache-2.0 WITH LLVM-exception" "LLVM Project" "pkg:generic/llvm-libunwind@$llvm" "" \
            "$(sum "$file")" "$unwind_files" https://github.com/rust-lang/llvm-project "" "as of Rust $rust"
        needs="$needs,llvm-libunwind@$llvm"
    fi

    gcc_files=$(take '/crt(begin|end)[ST]?\.o$|/crtfastmath\.o$|/libgcc(_eh)?\.a$')
    if [ -n "$gcc_files" ]; then
        named=$(xargs grep -haoE 'GCC: \([^)]*\) [0-9.]*[0-9]' <"$work/taken" | sort -u | tail -n 1)
        number=${named##* }
        [ -n "$number" ] || fail "of which GCC are $gcc_files?"
        part c gcc-runtime "$number" "GPL-3.0-or-later WITH GCC-exception-3.1" "GNU Project" "pkg:generic/gcc@$number" \
            "a:gnu:gcc:$number" "" "$gcc_files" https://gcc.gnu.org/ "" "$named"
        needs="$needs,gcc-runtime@$number"
    fi

    # Its sources have tables of Unicode's; compiler-builtins has parts of LLVM and of musl.
    standard=$(sed -n 's,.*/\(libstd-[^/]*\)\.[a-z]*$,\1.rlib,p' "$work/crates")
    part rust rust-std "$rust" "(Apache-2.0 OR MIT) AND MIT AND Unicode-3.0 AND Apache-2.0 WITH LLVM-exception" \
        "The Rust Project" "pkg:generic/rust-std@$rust" "a:rust-lang:rust:$rust" "$(sum "$libdir/$standard")" \
        "$standard${rust_files:+ $rust_files}" https://github.com/rust-lang/rust "${crates#,}$needs" "$("$RUSTC" --version)"
    [ ! -s "$work/linked" ] || fail "of which part are: $(xargs <"$work/linked")"
} >"$work/rest-of-it"

# Depth, package, licence and repository of each package, each below the one that depends on it.
"$cargo" tree --locked --edges normal --target "$target" --prefix depth --no-dedupe --format '|{p}|{l}|{r}' |
    SUM=$(sum "$program") RUST=$("$RUSTC" -vV | sed -n 's/^release: //p') awk '
# Cargo.lock: a package begins with its name.
FILENAME == "Cargo.lock" {
    gsub(/"/, "")
    if ($1 == "name") name = $3
    if ($1 == "version") version = $3
    if ($1 == "checksum") checksum[name "@" version] = $3
    next
}
{
    split($0, column, "|")
    split(column[2], word, " ")
    id = word[1] "@" substr(word[2], 2)
    depth = column[1]
    if (depth == 0) root = id
    # What stands in parentheses is a directory or another registry, of which only the first may be.
    else if (word[3] ~ /^\(/ && word[3] != "(proc-macro)") { print "parts: not from crates.io: " id >"/dev/stderr"; exit bad = 1 }
    else if (!(id in checksum)) { print "parts: no checksum in Cargo.lock: " id >"/dev/stderr"; exit bad = 1 }
    if (!(id in licence)) order[++count] = id
    licence[id] = column[3]
    repository[id] = column[4]
    above[depth] = id
    if (depth > 0 && !((above[depth - 1], id) in edge)) {
        edge[above[depth - 1], id] = 1
        needs[above[depth - 1]] = needs[above[depth - 1]] "," id
    }
}
END {
    if (bad) exit 1
    for (n = 1; n <= count; n++) {
        id = order[n]
        split(id, part, "@")
        if (id == root)
            print "program|" part[1] "|" part[2] "|" licence[id] "|The maintainers of etcd-gateway|pkg:generic/" id "||" ENVIRON["SUM"] "|||" substr(needs[id], 2) ",rust-std@" ENVIRON["RUST"] "|"
        else
            print "package|" part[1] "|" part[2] "|" licence[id] "|crates.io|pkg:cargo/" id "||" checksum[id] "||" repository[id] "|" substr(needs[id], 2) "|"
    }
}' Cargo.lock - >"$work/packages"
# Where Rust's library has the same release of a package as Cargo.lock, it is one part.
awk -F '|' '!seen[$6]++' "$work/packages" "$work/rest-of-it"
