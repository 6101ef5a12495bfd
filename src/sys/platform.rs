//! The hosts that the program is built for: those that a test runs it on (`tests/tools/targets.sh` has the
//! same list). The compiler refuses others: what is declared in `syscall`, and numbers of errors and flags
//! elsewhere, are right where they were tried.
//!
//! What is asked for is what layouts and numbers depend on: processor, its word and order of octets, C library.

#[cfg(not(target_os = "linux"))]
compile_error!("this program asks the kernel for what only Linux has: build it for Linux");

#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "mips32r6",
        target_arch = "mips64r6",
        target_arch = "sparc",
        target_arch = "sparc64"
    )
))]
compile_error!(
    "Linux numbers errors, signals and resource limits differently on this processor, and this program has only the \
     numbers of the others"
);

#[cfg(all(target_os = "linux", not(target_has_atomic = "64")))]
compile_error!(
    "this processor has no atomic operations on 64 bits, by which the threads of this program count"
);

#[cfg(all(
    target_os = "linux",
    target_has_atomic = "64",
    not(any(
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "sparc64",
        all(
            target_arch = "x86_64",
            target_pointer_width = "64",
            any(target_env = "gnu", target_env = "musl")
        ),
        all(
            target_arch = "aarch64",
            target_pointer_width = "64",
            target_endian = "little",
            any(target_env = "gnu", target_env = "musl")
        ),
        all(
            target_arch = "x86",
            target_feature = "sse2",
            any(target_env = "gnu", target_env = "musl")
        ),
        all(target_arch = "arm", target_abi = "eabihf", target_env = "gnu"),
        all(target_arch = "riscv64", target_env = "gnu"),
        all(
            target_arch = "powerpc64",
            target_endian = "little",
            target_env = "gnu"
        ),
        all(target_arch = "s390x", target_env = "gnu"),
    ))
))]
compile_error!(
    "no test runs this program on this processor with this C library; src/deploy/building.md lists those that do"
);
