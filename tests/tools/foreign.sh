#!/bin/sh
# Builds the program for other processors than this one, in target/foreign/TARGET, as `make release` does it there: the
# tests run it under an emulator. What one of them needs and this host lacks (the standard library by rustup, a linker,
# an emulator) is named, and that target is not built.
set -eu
cd "$(dirname "$0")/../.."

# target                     linker                 emulator
targets='
aarch64-unknown-linux-gnu    aarch64-linux-gnu-gcc  qemu-aarch64-static
'
out=${CARGO_TARGET_DIR:-target}/foreign
cargo=${CARGO:-cargo}
rustc=$(dirname "$cargo")/rustc
command -v "$rustc" >/dev/null || rustc=rustc

# Names what is missing for a target ($1) and how it is got, then removes what was built for it earlier.
missing() {
    echo "foreign: NOT BUILT for $1: $2" >&2
    rm -rf "${out:?}/$1"
}

echo "$targets" | while read -r target linker emulator; do
    [ -n "$target" ] || continue
    name=$(echo "$target" | tr 'a-z-' 'A-Z_')
    for tool in "$linker" "$emulator"; do
        command -v "$tool" >/dev/null || { missing "$target" "no $tool (make deps)" && continue 2; }
    done
    if [ ! -d "$("$rustc" --print sysroot)/lib/rustlib/$target" ] && ! rustup target add "$target" >/dev/null 2>&1; then
        missing "$target" "no standard library (rustup target add $target)"
        continue
    fi
    env "CARGO_TARGET_${name}_LINKER=$linker" "$cargo" build --locked --release --bin etcd-gateway \
        --target "$target" --target-dir "$out"
    # The time of the file says of which sources it is, also where cargo had nothing to do.
    touch "$out/$target/release/etcd-gateway"
done
