#!/bin/sh
# Builds what the tests run for every processor and C library of targets.sh but this host's own, with debug checks, so
# that a number that does not fit its type is noticed:
#   target/foreign/TARGET/debug/etcd-gateway   the program, without optimization: what it does takes little time
#   target/foreign/TARGET/unit-tests           the unit tests, for one processor of the other order of octets, and one
#                                              of 32 bits; others would tell nothing else
#
# What a target needs and this host lacks (linker, emulator, C library, Rust's standard library) is named, and nothing
# is built for it: its tests are skipped and say so. That is no failure, with CI=true neither: there deps.sh insists on
# all that Debian has, and which standard libraries there are is a matter of rustup's mirror.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/tools/targets.sh
. tests/tools/targets.sh

out=${CARGO_TARGET_DIR:-target}/foreign
cargo=${CARGO:-cargo}
tested='s390x-unknown-linux-gnu i686-unknown-linux-gnu'

for target in $UNTRIED; do echo "foreign: NEVER BUILT for $target, see targets.sh" >&2; done
for target in $(targets); do
    [ "$target" != "$(uname -m)-unknown-linux-gnu" ] || continue # the whole suite runs on that
    lacks=$(target_lacks "$target")
    if [ -n "$lacks" ]; then
        echo "foreign: NOT BUILT for $target: $lacks" >&2
        rm -rf "${out:?}/$target"
        continue
    fi
    export "$(target_setting "$target")"
    programs="${programs:-} $target"
    case " $tested " in *" $target "*) tests="${tests:-} $target" ;; esac
done

# Builds with the words of cargo $1, side by side for all targets in $2.
build() {
    words=$1
    # shellcheck disable=SC2086,SC2046 # words without blanks
    CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 "$cargo" $words --locked \
        --target-dir "$out" $(printf -- '--target %s ' $2)
}

# The time of a file says of which sources it is, also where cargo had nothing to do.
if [ -n "${programs:-}" ]; then
    build 'build --bin etcd-gateway' "$programs"
    for target in $programs; do touch "$out/$target/debug/etcd-gateway"; done
fi
if [ -n "${tests:-}" ]; then
    build 'test --lib --no-run --message-format json' "$tests" >"$out/unit-tests.json"
    for target in $tests; do
        path=$(sed -n "s,.*\"executable\":\"\([^\"]*/$target/[^\"]*\)\".*,\1,p" "$out/unit-tests.json")
        cp "$path" "$out/$target/unit-tests"
    done
fi
