# `make help` lists what can be made. Everything builds from Cargo.lock alone (--locked).

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR  ?= $(PREFIX)/share/man
SHAREDIR ?= $(PREFIX)/share/etcd-gateway
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d

# rustup's cargo is often not on the PATH of a new shell or of CI.
CARGO   ?= $(or $(shell command -v cargo 2>/dev/null),$(HOME)/.cargo/bin/cargo)
BINARY  := $(or $(CARGO_TARGET_DIR),target)/release/etcd-gateway
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
export CARGO

.DEFAULT_GOAL := build
.PHONY: all build release static foreign repro sbom dist deb image test check lint audit deps demo soak fuzz mutants bench install uninstall clean help

all: build release ## build and release

build: ## the program with debug checks, in target/debug
	$(CARGO) build --locked

release: ## the program to ship, in target/release
# A program that BINARY= names exists already.
ifneq ($(origin BINARY),command line)
release: $(BINARY)
$(BINARY): $(SOURCES)
	SOURCE_COMMIT="$$(. tests/tools/host.sh && short_commit)" $(CARGO) build --locked --release
endif

check: lint audit ## the quick ones: lint, audit, whether the mutants fit, the unit tests
	cd tests/mutants && $(CARGO) run --quiet --locked -- check
	RUST_TEST_THREADS=$(THREADS) $(CARGO) test --locked --lib

# The fuzz targets are part of the library under `--cfg fuzzing`.
lint: ## formatting and clippy, of the crates below tests/ too, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib -- --cfg fuzzing -D warnings
	for crate in bench fuzz mutants; do (cd tests/$$crate && $(CARGO) fmt --all --check && \
		$(CARGO) clippy --locked --all-targets -- -D warnings) || exit 1; done

audit: ## dependencies, unsafe code, import layers and the length of files and of all code are as promised, and listed
	tests/tools/audit.sh

# Most tests wait for something, so more of them run at a time than there are processors. `foreign` comes first, because it
# may add the target that `static` is then built for.
THREADS ?= 12
test: deps foreign static ## every test, those against real servers included, and a moment of each fuzz target
	tests/tools/repro.sh quick
	PATH="$$PATH:/usr/sbin:/sbin" RUST_TEST_THREADS=$(THREADS) $(CARGO) test --locked
	cd tests/bench && $(CARGO) test --locked
	cd tests/mutants && $(CARGO) test --locked
	$(MAKE) --no-print-directory fuzz FUZZ= SECONDS=6

deps: ## install what the tests and the demo run beside the gateway (apt), or say what is missing
	tests/tools/deps.sh

# TARGET=aarch64-unknown-linux-musl, for instance. Without: this processor, with musl where Rust has it, else with glibc.
TARGET ?=
static: ## one static executable without NSS, in target/static, checked, run and used in an empty directory
	tests/tools/static.sh $(TARGET)

foreign: ## the program for other processors and C libraries, which the tests run, mostly under an emulator
	tests/tools/foreign.sh

repro: ## that executable built three times, as on three hosts: are the bytes the same?
	tests/tools/repro.sh $(TARGET)

sbom: static ## the bill of materials, as CycloneDX, in target/static/TARGET/etcd-gateway.cdx.json
	tests/tools/sbom.sh $(TARGET)

# TARGETS="x86_64-unknown-linux-musl aarch64-unknown-linux-musl" chooses; the bytes are the same each time.
TARGETS ?=
dist: ## etcd-gateway-VERSION-TARGET.tar.gz and SHA256SUMS in target/dist, for each processor or TARGETS=
	tests/tools/dist.sh $(TARGETS)

deb: ## packages of Debian there; MAINTAINER="Name <address>"
	MAINTAINER="$(MAINTAINER)" tests/tools/deb.sh $(TARGETS)

image: ## an image for containers there, etcd-gateway-VERSION.oci.tar: no docker needed
	tests/tools/image.sh $(TARGETS)

demo: release ## watch a cluster lose a member behind the gateway
	@tests/demo/demo.sh $(BINARY)

# A failure prints the smallest plan that fails, and the seed to play it again with SEED=. The experiments on availability
# want an idle host; SOAK=A1 or SOAK=A1,A6 runs those alone, AVAILABILITY_SETUP=mtls,3.5.1 those without variants in another
# setup. A10 is whole with A10_SECONDS=600 A10_IDLE=1000 A10_BUSY=200.
SOAK_SECONDS ?= 600
SEED ?=
SOAK ?=
comma := ,
experiments = $(or $(foreach name,$(shell echo $(subst $(comma), ,$(SOAK)) | tr A-Z a-z),::$(name)_),availability::)
soak: deps ## random faults of connections, SOAK_SECONDS=600 SEED=; then the experiments, or only SOAK=A1,A6
ifeq ($(SOAK),)
	SOAK_SECONDS=$(SOAK_SECONDS) SEED=$(SEED) $(CARGO) test --locked --lib -- --ignored --nocapture --exact \
		proxy::relay::tests::storm::soak
	SOAK_SECONDS=$(SOAK_SECONDS) FAULT_SEED=$(or $(SEED),$(shell date +%s)) $(CARGO) test --locked --test suite -- \
		--ignored --exact faults::soak::soak
endif
	PATH="$$PATH:/usr/sbin:/sbin" $(CARGO) test --locked --test suite -- --ignored --nocapture --test-threads=1 \
		$(experiments)

# The fuzz crate is a workspace of its own; its .cargo/config.toml has the flags that make coverage visible.
FUZZ    ?=
SECONDS ?= 60
fuzz: ## FUZZ=name (or all targets) for SECONDS=60 together: coverage-guided, on a stable compiler
	cd tests/fuzz && $(CARGO) run --locked --release -- "$(FUZZ)" $(SECONDS)

# ONLY=a,b chooses modules (directories below src) and single changes; TESTS= is a part of the names of tests to run;
# JOBS=n tests at a time.
mutants: ## which deliberate faults in the product does no test notice? ONLY=dns,sys-03 TESTS=name JOBS=8
	cd tests/mutants && PATH="$$PATH:/usr/sbin:/sbin" $(CARGO) run --quiet --locked -- run --only "$(ONLY)" --tests "$(TESTS)" --jobs "$(JOBS)"

# LOADS=a,b and PEERS=a,b choose by the beginning of their names; ROUNDS=n; QUICK=1 for a look whether all works; JSON=file
# for the results, COMPARE=file for earlier ones; GATEWAYS="name=path ..." for more builds of the gateway, METRICS=1 for the
# gateway serving metrics beside the one that does not, BASE=name for the peer that ratios are to.
JSON ?= tests/bench/target/bench/$(shell date +%Y%m%d-%H%M%S).json
BENCH_BINARY = tests/bench/target/release/etcd-gateway-bench
bench: release ## speed beside etcd gateway, HAProxy and nginx: LOADS= PEERS= ROUNDS= QUICK=1 METRICS=1 COMPARE=file
	tests/tools/deps.sh bench || echo "bench: continuing with the programs that are installed" >&2
	cd tests/bench && $(CARGO) build --quiet --locked --release --target-dir target
	$(BENCH_BINARY) --gateway gateway=$(BINARY) $(GATEWAYS:%=--gateway %) --loads "$(LOADS)" --peers "$(PEERS)" --base "$(BASE)" \
		--rounds "$(ROUNDS)" $(if $(QUICK),--quick) $(if $(METRICS),--metrics) --json "$(JSON)" --compare "$(COMPARE)"

# The program prints its own units, manual and completions. Where BINARY is for another processor, GENERATOR is a build
# for this one, or an emulator and BINARY.
GENERATOR ?= "$(BINARY)"
UNIT := $(DESTDIR)$(UNITDIR)/etcd-gateway.service
SOCK := $(DESTDIR)$(UNITDIR)/etcd-gateway.socket
MAN1 := $(DESTDIR)$(MANDIR)/man1/etcd-gateway.1
MAN5 := $(DESTDIR)$(MANDIR)/man5/etcd-gateway.5
MAN7 := behaviour operation metrics logs security
man7  = $(DESTDIR)$(MANDIR)/man7/etcd-gateway-$(1).7
SHARE := $(DESTDIR)$(SHAREDIR)
BASH := $(DESTDIR)$(BASHDIR)/etcd-gateway
ZSH  := $(DESTDIR)$(ZSHDIR)/_etcd-gateway
FISH := $(DESTDIR)$(FISHDIR)/etcd-gateway.fish

# Files that are copied unchanged.
SHARED := prometheus-rules.yaml grafana-dashboard.json logrotate $(patsubst src/deploy/%,%,$(wildcard src/deploy/kubernetes/*))

# Creates the file with its mode before it is written.
generate = install -D -m 644 /dev/null "$(2)" && $(GENERATOR) generate $(1) >"$(2)"

install: release ## program, units, manual, completions and samples, below DESTDIR and PREFIX (/usr/local); BINARY= builds nothing
	install -D -m 755 "$(BINARY)" "$(DESTDIR)$(BINDIR)/etcd-gateway"
	$(call generate,unit,$(UNIT))
	sed -i 's,^\(Exec[A-Za-z]*\)="[^"]*",\1="$(BINDIR)/etcd-gateway",' "$(UNIT)"
	$(call generate,socket,$(SOCK))
	$(call generate,man,$(MAN1))
	$(call generate,man files,$(MAN5))
	$(foreach page,$(MAN7),$(call generate,man $(page),$(call man7,$(page))) &&) true
	$(call generate,bash,$(BASH))
	$(call generate,zsh,$(ZSH))
	$(call generate,fish,$(FISH))
	$(call generate,settings,$(SHARE)/settings)
	for file in $(SHARED); do install -D -m 644 "src/deploy/$$file" "$(SHARE)/$$file" || exit 1; done

uninstall: ## remove what install has put there
	rm -f "$(DESTDIR)$(BINDIR)/etcd-gateway" "$(UNIT)" "$(SOCK)" "$(MAN1)" "$(MAN5)" "$(BASH)" "$(ZSH)" "$(FISH)" \
		$(foreach page,$(MAN7),"$(call man7,$(page))")
	rm -rf "$(SHARE)"

clean: ## remove all that was built
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 11
