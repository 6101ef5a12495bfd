# `make help` lists what can be made. Everything builds from Cargo.lock alone (--locked).

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system

# rustup's cargo is often not on the PATH of a new shell or of CI.
CARGO   ?= $(or $(shell command -v cargo 2>/dev/null),$(HOME)/.cargo/bin/cargo)
BINARY  := $(or $(CARGO_TARGET_DIR),target)/release/etcd-gateway
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
export CARGO

.DEFAULT_GOAL := build
.PHONY: all build release test check lint audit deps demo fuzz install uninstall clean help

all: build release ## build and release

build: ## the program with debug checks, in target/debug
	$(CARGO) build --locked

release: $(BINARY) ## the program to ship, in target/release
$(BINARY): $(SOURCES)
	$(CARGO) build --locked --release

check: lint audit ## what is quick: lint, audit, the unit tests
	$(CARGO) test --locked --lib

lint: ## formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

audit: ## dependencies, unsafe code and import layers are as promised
	tests/tools/audit.sh

# Most tests wait for something: more of them run at a time than there are processors.
THREADS ?= 4
test: deps ## every test, those against a real etcd and real name servers included
	PATH="$$PATH:/usr/sbin:/sbin" RUST_TEST_THREADS=$(THREADS) $(CARGO) test --locked

deps: ## install what the tests and the demo run beside the gateway (apt), or say what is missing
	tests/tools/deps.sh

demo: release ## watch a cluster lose a member behind the gateway
	@tests/demo/demo.sh $(BINARY)

# The fuzz crate is a workspace of its own; its .cargo/config.toml has the flags that make coverage visible.
FUZZ    ?=
SECONDS ?= 60
fuzz: ## FUZZ=name (or all targets) for SECONDS=60 together: coverage-guided, on a stable compiler
	cd tests/fuzz && $(CARGO) run --locked --release -- "$(FUZZ)" $(SECONDS)

install: release ## program and systemd units, below DESTDIR and PREFIX (/usr/local)
	install -D -m 755 $(BINARY) $(DESTDIR)$(BINDIR)/etcd-gateway
	install -d $(DESTDIR)$(UNITDIR)
	sed 's,@BINDIR@,$(BINDIR),g' src/etcd-gateway.service >$(DESTDIR)$(UNITDIR)/etcd-gateway.service
	chmod 644 $(DESTDIR)$(UNITDIR)/etcd-gateway.service
	install -m 644 src/etcd-gateway.socket $(DESTDIR)$(UNITDIR)/etcd-gateway.socket

uninstall: ## take away what install put there
	rm -f $(DESTDIR)$(BINDIR)/etcd-gateway $(DESTDIR)$(UNITDIR)/etcd-gateway.service \
		$(DESTDIR)$(UNITDIR)/etcd-gateway.socket

clean: ## remove all that was built
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 11
