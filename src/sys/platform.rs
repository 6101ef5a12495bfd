//! The hosts that the program is built for: those that a test runs it on (`tests/tools/targets.sh` has the same list). The
//! compiler refuses others: what is declared in `syscall`, and numbers of errors and flags elsewhere, are right where they were
//! tried. `src/deploy/building.md` says what is wrong with some of the others.
//!
//! The conditions are what layouts and numbers depend on: processor, its word and order of octets, C library; and atomic
//! operations on 64 bits, by which the threads of this program count.

#[cfg(not(target_os = "linux"))]
compile_error!("this program uses system calls that only Linux has: build it for Linux");

#[cfg(not(any(
    not(target_os = "linux"),
    all(
        any(target_env = "gnu", target_env = "musl"),
        any(
            all(target_arch = "x86_64", target_pointer_width = "64"),
            all(
                target_arch = "aarch64",
                target_pointer_width = "64",
                target_endian = "little"
            ),
            all(target_arch = "x86", target_feature = "sse2"),
        )
    ),
    all(
        target_env = "gnu",
        any(
            all(target_arch = "arm", target_abi = "eabihf", target_has_atomic = "64"),
            target_arch = "riscv64",
            all(target_arch = "powerpc64", target_endian = "little"),
            target_arch = "s390x",
        )
    ),
)))]
compile_error!(
    "no test runs this program on this processor with this C library; src/deploy/building.md lists those that do"
);
