# What a contributor runs. `make test` needs a Debian machine with Rust and nothing else.

# The pinned release, so that a new lint or advisory format never breaks an old commit.
CARGO_DENY := 0.20.2
TOOLS := target/tools

# Real servers share the cores with the tests that ask them.
REAL_THREADS ?= 2
# These mostly wait; each has an API server of half a gigabyte.
CLUSTER_THREADS ?= 4

.DEFAULT_GOAL := help
.PHONY: help test test-cluster mesh-netns tools tools-cluster lint deny

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

test: tools ## all tests: pure, loopback, and against CoreDNS, Envoy, nginx, Prometheus; the page in Chromium
	cargo test --locked
	cargo test --locked --test real -- --test-threads=$(REAL_THREADS)

test-cluster: tools tools-cluster ## against a real kube-apiserver and etcd; chart and image, as root
	cargo test --locked --test apiserver -- --show-output --test-threads=$(CLUSTER_THREADS) --skip fleet
	cargo test --locked --test apiserver -- --nocapture fleet
	MESHPROBE=target/debug/meshprobe deploy/test.sh
	deploy/image/build.sh

mesh-netns: ## as root, with ZTUNNEL=/path/to/ztunnel: the real ztunnel and the lab's, row by row
	cargo test --locked --test mesh_netns

tools: ## install what the tests need; the second time at once
	tests/tools.sh

tools-cluster: ## build what test-cluster needs, a quarter of an hour; the second time at once
	tests/tools.sh cluster

lint: ## formatting, clippy with warnings as errors
	cargo fmt --check
	cargo clippy --locked --all-targets --test real --test apiserver -- -D warnings

deny: $(TOOLS)/bin/cargo-deny ## licences, banned crates and sources of the dependency tree
	$(TOOLS)/bin/cargo-deny --locked check bans licenses sources

$(TOOLS)/bin/cargo-deny:
	cargo install cargo-deny --locked --version $(CARGO_DENY) --root $(TOOLS)
