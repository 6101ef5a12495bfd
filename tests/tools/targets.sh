# The processors and C libraries that the program is built for and run on. Sourced: `. tests/tools/targets.sh`.
# shellcheck shell=sh
#
# A target is in the table if a test runs its program; src/sys/platform.rs refuses the others. Those of musl are linked
# by rust-lld, which comes with Rust, without a C compiler.

# target                       linker                      emulator              root of its C library
TARGETS='
x86_64-unknown-linux-gnu       x86_64-linux-gnu-gcc        qemu-x86_64-static    /usr/x86_64-linux-gnu
x86_64-unknown-linux-musl      rust-lld                    qemu-x86_64-static    -
i686-unknown-linux-gnu         i686-linux-gnu-gcc          qemu-i386-static      /usr/i686-linux-gnu
i686-unknown-linux-musl        rust-lld                    qemu-i386-static      -
aarch64-unknown-linux-gnu      aarch64-linux-gnu-gcc       qemu-aarch64-static   /usr/aarch64-linux-gnu
aarch64-unknown-linux-musl     rust-lld                    qemu-aarch64-static   -
riscv64gc-unknown-linux-gnu    riscv64-linux-gnu-gcc       qemu-riscv64-static   /usr/riscv64-linux-gnu
armv7-unknown-linux-gnueabihf  arm-linux-gnueabihf-gcc     qemu-arm-static       /usr/arm-linux-gnueabihf
powerpc64le-unknown-linux-gnu  powerpc64le-linux-gnu-gcc   qemu-ppc64le-static   /usr/powerpc64le-linux-gnu
s390x-unknown-linux-gnu        s390x-linux-gnu-gcc         qemu-s390x-static     /usr/s390x-linux-gnu
'

# Those that somebody may ask for, of processors that are in the table or alike: the compiler refuses them, for there was
# no standard library to be had (rustup target add) to try them with.
# shellcheck disable=SC2034 # who sources this uses it
UNTRIED='riscv64gc-unknown-linux-musl armv7-unknown-linux-musleabihf powerpc64le-unknown-linux-musl loongarch64-unknown-linux-gnu'

# Prints the names of all targets.
targets() { echo "$TARGETS" | awk 'NF { print $1 }'; }

# Prints a column of the table ($2: 2 to 4) for a target ($1); nothing if there is none.
target_column() { echo "$TARGETS" | awk -v target="$1" -v column="$2" '$1 == target && $column != "-" { print $column }'; }

target_linker() { target_column "$1" 2; }
target_emulator() { target_column "$1" 3; }
target_root() { target_column "$1" 4; }

# Prints the words to put before a program of target $1 to run it here: nothing where it runs by itself.
target_runner() {
    root=$(target_root "$1")
    case $1-on-$(uname -m) in
    # The processor is this one; where its C library is not the host's, that has a loader of its own.
    x86_64-*-on-x86_64 | aarch64-*-on-aarch64 | riscv64gc-*-on-riscv64 | powerpc64le-*-on-ppc64le | s390x-*-on-s390x) ;;
    i686-*-on-i686) ;;
    i686-*-on-x86_64)
        # Some kernels of 64 bits run no program of 32.
        loader=/usr/i686-linux-gnu/lib/ld-linux.so.2
        if ! "$loader" --version >/dev/null 2>&1; then
            echo "$(target_emulator "$1")${root:+ -L $root}"
        elif [ -n "$root" ]; then
            echo "$loader --library-path $root/lib"
        fi
        ;;
    *) echo "$(target_emulator "$1")${root:+ -L $root}" ;;
    esac
}

# Prints what this host lacks to build and to run for target $1, and how it is got; nothing if it is all there.
# Gets the standard library by rustup if that is what is missing.
target_lacks() {
    linker=$(target_linker "$1")
    runner=$(target_runner "$1")
    for tool in "$linker" "${runner%% *}"; do
        case $tool in '' | rust-lld) continue ;; esac
        command -v "$tool" >/dev/null || { echo "no $tool (make deps)" && return; }
    done
    root=$(target_root "$1")
    [ -z "$root" ] || [ "$1" = "$(uname -m)-unknown-linux-gnu" ] || [ -d "$root/lib" ] ||
        { echo "no $root/lib (make deps)" && return; }
    rustc=$(dirname "${CARGO:-cargo}")/rustc
    command -v "$rustc" >/dev/null || rustc=rustc
    [ -d "$("$rustc" --print sysroot)/lib/rustlib/$1" ] || rustup target add "$1" >/dev/null 2>&1 ||
        echo "no standard library (rustup target add $1)"
}

# Prints the setting, NAME=LINKER, by which cargo links for target $1.
target_setting() { echo "CARGO_TARGET_$(echo "$1" | tr 'a-z-' 'A-Z_')_LINKER=$(target_linker "$1")"; }
