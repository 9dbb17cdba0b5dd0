# `make help` lists the targets. Nothing is written into the clone: build output and downloads go to $(SPOOLWAY_CACHE).
SPOOLWAY_CACHE   ?= $(HOME)/.cache/spoolway
CARGO_TARGET_DIR ?= $(SPOOLWAY_CACHE)/target
# The agent with failpoints, a build of its own that only tests use.
SPOOLWAY_FAILPOINTS := $(CARGO_TARGET_DIR)/failpoints/spoolway
export SPOOLWAY_CACHE CARGO_TARGET_DIR SPOOLWAY_FAILPOINTS

# What compiles the agent: librdkafka and OpenSSL are built from source and linked statically.
BUILD_TOOLS := cargo cc c++ make perl
need        := ./scripts/need.sh

.DEFAULT_GOAL := help
.PHONY: help build image demo beds cluster-beds check failpoints test simulate storm soak e2e bench generate

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

build: ## the spoolway command, in $(CARGO_TARGET_DIR)/release
	@$(need) $(BUILD_TOOLS)
	cargo build --release --locked

demo: ## ship generated logs before your eyes; ARGS=--kafka: into a real Kafka, with kill -9 on the way
	@$(need) $(BUILD_TOOLS)
	@cargo build --release --locked --no-default-features --features agent
	@scripts/demo.sh $(ARGS)

beds: ## get what the tests against real parts need (once; tests need no network afterwards)
	@tests/beds/kafka/kafka.sh fetch
	@if [ "$(CI)" = true ] || { [ "$$(id -u)" = 0 ] && command -v go >/dev/null; }; then tests/beds/cluster/cluster.sh fetch; fi

cluster-beds: ## the same with a real Kubernetes, or say what is missing (once, some 15 minutes of CPU; root, Go, Debian)
	@tests/beds/kafka/kafka.sh fetch
	@tests/beds/cluster/cluster.sh fetch

image: ## the container image, an archive in $(SPOOLWAY_CACHE); IMAGE=NAME:TAG ARCH=arm64; prints how to load it
	@$(need) $(BUILD_TOOLS)
	@scripts/image.sh $(if $(IMAGE),--name $(IMAGE)) $(if $(ARCH),--arch $(ARCH))

check: ## formatting, lints, feature walls, generated files
	@$(need) $(BUILD_TOOLS)
	@scripts/check.sh

# First, for the last build is the one that lies in release/.
failpoints:
	@$(need) $(BUILD_TOOLS)
	cargo build --release --locked --features failpoints
	@install -D $(CARGO_TARGET_DIR)/release/spoolway $(SPOOLWAY_FAILPOINTS)

test: beds failpoints ## all tests, those against a real Kafka too, and against a real cluster as root with Go
	@$(need) $(BUILD_TOOLS)
	cargo test --release --locked -- --skip cluster::
	cargo test --release --locked --test main cluster::

simulate: ## the simulation: faults hit, kills, lines, and the seed that catches each planted bug; N=20000 seeds; SEED=7 replays one (BUG=NoSecondLook with it)
	@$(need) $(BUILD_TOOLS)
	SEEDS=$(or $(N),2000) cargo test --release --locked --test main simulation:: -- --nocapture

storm: failpoints ## 200 kills of agent and broker over 2 GB, under ten minutes, and the proof that each line is there once
	@tests/beds/kafka/kafka.sh fetch
	SPOOLWAY_STORM_KILLS=$(or $(SPOOLWAY_STORM_KILLS),200) SPOOLWAY_STORM_GIGABYTES=$(or $(SPOOLWAY_STORM_GIGABYTES),2) \
	  CI=true cargo test --release --locked --test main e2e::storm::nothing -- --nocapture

soak: ## the network's faults at full length, then storm after storm, each with a seed of its own, for an hour; SECONDS=1 for one of them
	@tests/beds/kafka/kafka.sh fetch
	@scripts/soak.sh $(or $(SECONDS),3600)

e2e: cluster-beds ## the tests on a real cluster; T=operator for a part of them
	@$(need) $(BUILD_TOOLS)
	cargo test --release --locked --test main cluster::$(T)

bench: beds ## the agent, its ceiling and its rivals on a real Kafka; REPS=5 for more repetitions; writes bench/README.md
	@$(need) $(BUILD_TOOLS) time
	@bench/run.sh

generate: ## write the generated files anew (golden files of tests are insta's)
	@$(need) $(BUILD_TOOLS)
	cargo build --release --locked
	@mkdir -p crds
	$(CARGO_TARGET_DIR)/release/spoolway crd > crds/logpipelines.yaml.new && mv crds/logpipelines.yaml.new crds/logpipelines.yaml
	cp crds/logpipelines.yaml charts/spoolway/files/logpipelines.yaml
	$(CARGO_TARGET_DIR)/release/spoolway crd --roles > charts/spoolway/files/roles.yaml.new && mv charts/spoolway/files/roles.yaml.new charts/spoolway/files/roles.yaml
	@scripts/manifests.sh > deploy/install.yaml.new && mv deploy/install.yaml.new deploy/install.yaml || { rm deploy/install.yaml.new; [ -z "$(CI)" ]; }
