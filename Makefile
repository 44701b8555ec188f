# `make` alone lists what there is to make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SHELLFLAGS := -euo pipefail -c

BIN := $(CURDIR)/target/bin
RUST := $(CURDIR)/target/debug
IMAGES := $(CURDIR)/target/images
# The local cluster's folder; its name becomes part of the names of its network namespace and its cgroups.
CLUSTER ?= $(CURDIR)/target/cluster
TEST_CLUSTER := $(CURDIR)/target/test-cluster
SHOALCLUSTER := $(BIN)/shoalcluster

# A cluster of your own instead: CONTEXT= names a context of your kubeconfig. Its nodes need the images: give them by
# `make images REGISTRY=registry.example/shoalwatch PUSH=1`, or `kind load image-archive target/images/*.tar`.
CONTEXT ?=
REGISTRY ?= shoalwatch.local
TAG ?= dev
PUSH ?=
# How long each fuzz target runs.
FUZZ_SECONDS ?= 600
# How often `make exact` repeats its loads, and of how many requests each is.
RUNS ?= 20
REQUESTS ?= 100000
# What `make simulate` lives through.
SEED ?= 1
RELEASES ?= 10000
# Which of the system tests to run; empty: all.
TESTS ?=
# How many bad releases `make releases` has undone on the real cluster.
ROUNDS ?= 20
# Debian suites whose kernels `make kernels` boots; none: all it knows.
SUITES ?=

CRATES := --workspace --exclude shoalwatch-node-ebpf
# How a command reaches a cluster: in the local one's network, or through your own context.
ifeq ($(CONTEXT),)
reach = $(SHOALCLUSTER) run --dir $(1) -- env SHOALWATCH_KUBECTL='target/bin/shoalcluster run --dir $(1:$(CURDIR)/%=%) -- kubectl'
else
reach = env SHOALWATCH_CONTEXT=$(CONTEXT) SHOALWATCH_KUBECTL='kubectl --context $(CONTEXT)'
endif
reach += SHOALWATCH_IMAGES=$(REGISTRY) SHOALWATCH_TAG=$(TAG)

##@ First
.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: cluster ## Show the main job for real: measure a shop, change sampling live, undo a bad release
	@$(call reach,$(CLUSTER)) $(RUST)/shoalwatch-demo

.PHONY: demo-down
demo-down: ## Remove everything that `make demo` started
ifeq ($(CONTEXT),)
	@if [ -x $(SHOALCLUSTER) ]; then $(SHOALCLUSTER) down --dir $(CLUSTER); fi
else
	@kubectl --context $(CONTEXT) delete --ignore-not-found -k manifests/demo/shop -k manifests/demo/collector -k manifests/demo/install
endif

.PHONY: test
test: lint test-go test-rules test-rust test-system ## Everything that CI runs

##@ Build
.PHONY: prerequisites
prerequisites: ## Install what is missing from Debian's packages
	@e2e/cluster/prerequisites.sh

.PHONY: build
build: ## Build operator, node worker and demo
	@cargo build $(CRATES) --bins

.PHONY: ebpf
ebpf: ## Rebuild the eBPF object that is checked in (needs a nightly Rust)
	@node-ebpf/build.sh

.PHONY: crds
crds: ## Write crds/yaml from the Rust types
	@cargo run --quiet -p shoalwatch-crds --bin crdgen

.PHONY: manifests
manifests: ## Write manifests/base from the chart, and the chart's copy of crds/yaml
	@cd e2e/cluster && SHOALWATCH_REGENERATE=1 CGO_ENABLED=0 go test -count=1 ./chart

.PHONY: proto
proto: ## Write the Rust code of the proto files
	@SHOALWATCH_REGENERATE=1 cargo test --quiet -p shoalwatch-node-api --test generated

.PHONY: tools
tools: prerequisites ## Build the local cluster, the Collector and the shop
	@mkdir -p $(BIN)
	@echo "building Kubernetes and the Collector (some minutes the first time)"
	@e2e/cluster/build.sh $(BIN)
	@cd e2e/apps && CGO_ENABLED=0 go build -o $(BIN)/ ./checkout ./load

.PHONY: images
images: build tools ## Make the images as archives in target/images; with REGISTRY= and PUSH=1 push them
	@BIN=$(BIN) RUST=$(RUST) IMAGES=$(IMAGES) REGISTRY=$(REGISTRY) TAG=$(TAG) PUSH=$(PUSH) e2e/images.sh

##@ Cluster
.PHONY: cluster
cluster: images ## Start the local cluster and load the images
ifeq ($(CONTEXT),)
	@$(SHOALCLUSTER) up --dir $(CLUSTER)
	@$(SHOALCLUSTER) load --dir $(CLUSTER) $(IMAGES)/*.tar >/dev/null
endif

##@ Test
.PHONY: fmt
fmt: ## Format all code
	@cargo fmt --all
	@gofmt -w e2e

.PHONY: lint
lint: ## Formatting and lints, as errors
	@cargo fmt --all --check
	@test -z "$$(gofmt -l e2e)" || { gofmt -l e2e; echo "run: make fmt"; exit 1; }
	@cargo clippy --quiet $(CRATES) --all-targets -- -D warnings
# The system tests are no default target.
	@cargo clippy --quiet -p shoalwatch-e2e --test system -- -D warnings

.PHONY: test-rust
test-rust: prerequisites ## Pure, API and kernel tiers (the kernel tier needs root)
	@cargo test $(CRATES)

.PHONY: test-go
test-go: ## The chart's tests, the local cluster's and the shop's own
	@cd e2e/cluster && CGO_ENABLED=0 go vet ./local ./pause ./chart && CGO_ENABLED=0 go test ./local
# The chart's tests read files outside of their module, which Go's cache of results does not look at.
	@cd e2e/cluster && CGO_ENABLED=0 go test -count=1 ./chart
	@cd e2e/apps && go vet ./...

.PHONY: test-rules
test-rules: ## promtool proves the rules for Prometheus: each alert fires and resets when the burn rates say
	@mkdir -p $(BIN)
# Not by `go tool`, which does not know the tag.
	@cd e2e/promtool && CGO_ENABLED=0 go build -tags remove_all_sd -ldflags '-s -w' -o $(BIN)/promtool \
		github.com/prometheus/prometheus/cmd/promtool
	@$(BIN)/promtool test rules operator/core/tests/rules/golden/*.test.yaml

.PHONY: exact
exact: prerequisites ## Counts equal the load tool's: RUNS= (20) times REQUESTS= (100000) of each server, three ways (needs root, hours)
	@RUNS=$(RUNS) REQUESTS=$(REQUESTS) cargo test -p shoalwatch-node-worker --test exact -- --nocapture --test-threads=1

.PHONY: kernels
kernels: ## The kernel tier on Debian's kernels 5.10 to 7.2, emulated (about 20 minutes; SUITES= names fewer)
	@node-worker/tests/kernels/run.sh $(SUITES)

.PHONY: bench
bench: prerequisites ## Measure what the worker costs a node, beside the goals (needs root, 2 minutes)
	@cargo bench --profile dev -p shoalwatch-node-worker --bench node

.PHONY: bench-scale
bench-scale: ## Measure what the operator costs a cluster of 10, 100 and 1,000 nodes, beside the goals (15 minutes; SCALE="workers:namespaces …")
	@SCALE="$(SCALE)" cargo bench --profile dev -p shoalwatch-operator --bench scale

.PHONY: simulate
simulate: ## Live through 10,000 good and 10,000 bad releases: the README's tables (SEED= 1, RELEASES= 10000)
	@cargo run --quiet -p shoalwatch-core --example simulate -- $(SEED) $(RELEASES)

.PHONY: fuzz
fuzz: ## Fuzz every parser and the event decoder, FUZZ_SECONDS= (600) each
	@FUZZ_SECONDS=$(FUZZ_SECONDS) node-worker/protocols/fuzz/run.sh

.PHONY: releases
releases: ## ROUNDS= (20) bad releases on the real cluster, each undone within 3 s of its evidence (10 minutes)
	@ROUNDS=$(ROUNDS) $(MAKE) --no-print-directory test-system TESTS=every_bad_release

.PHONY: test-system
test-system: images ## The real cluster: exact counts, live policies, a canary undone, faults; TESTS= names fewer
	@cargo test --quiet $(CRATES) --test system --no-run
ifeq ($(CONTEXT),)
	@trap '$(SHOALCLUSTER) down --dir $(TEST_CLUSTER)' EXIT; \
	$(SHOALCLUSTER) up --dir $(TEST_CLUSTER); \
	$(SHOALCLUSTER) load --dir $(TEST_CLUSTER) $(IMAGES)/*.tar >/dev/null; \
	$(call reach,$(TEST_CLUSTER)) cargo test --offline $(CRATES) --test system -- --test-threads=1 --nocapture $(TESTS)
else
	@$(call reach) cargo test $(CRATES) --test system -- --test-threads=1 --nocapture $(TESTS)
endif
