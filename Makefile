# klamm: what a person does with the source. `make` alone lists it.
#
# Every goal first checks what it needs (scripts/setup.sh) and installs missing Debian packages where it may.
# What was fetched once stays: Rust crates in Cargo's cache; Kafka's jars, uPlot and the webhook payloads under .cache/.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Options for every cargo call, e.g. `make test CARGO_FLAGS=--locked`.
CARGO_FLAGS ?=
# The live page is in every build that is made here. It brings no crate, so that librdkafka is not built anew for it.
BUILD_FLAGS := $(CARGO_FLAGS) --features klamm/ui
# Arguments of `make run` (for klamm dev) and `make test` (for the test runner, e.g. ARGS=decode::).
ARGS ?=

KAFKA_POM     := tests/kafka/pom.xml
KAFKA_VERSION := $(shell sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' $(KAFKA_POM))
KAFKA_HOME    := .cache/kafka/$(KAFKA_VERSION)
KAFKA_STAMP   := $(KAFKA_HOME)/stamp

# The charts of the live page. The file pins the package by name, version and checksum.
UPLOT_PIN     := ui/uplot.sha256
UPLOT_PACKAGE := $(shell awk '{ print $$2 }' $(UPLOT_PIN))
UPLOT_HOME    := .cache/uplot
UPLOT_STAMP   := $(UPLOT_HOME)/$(UPLOT_PACKAGE).stamp

# What makes the Debian package. Into a folder of its own: nothing is installed for the user.
CARGO_DEB_VERSION := 3.8.0
CARGO_DEB         := .cache/tools/cargo-deb-$(CARGO_DEB_VERSION).stamp

HOOKS_VERSION := 7.6.1
HOOKS_HOME    := .cache/webhooks-examples/$(HOOKS_VERSION)
HOOKS_INDEX   := $(HOOKS_HOME)/package/api.github.com/index.json

.PHONY: help run test crash-model costs bench bench-callgrind memcheck chaos crash outage rolling dashboards spool-rates page-cost pictures chart chart-golden lint kafka uplot demo-real deb test-deploy fresh-check setup

help: ## list the goals
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{ printf "  make %-15s %s\n", $$1, $$2 }'

setup: ## check what building and testing needs, install what is missing
	@scripts/setup.sh build lint test

run: $(UPLOT_STAMP) ## build and start `klamm dev`, a gateway with a Kafka inside (ARGS=... for it)
	@scripts/setup.sh build
	cargo run $(BUILD_FLAGS) --bin klamm -- dev $(ARGS)

test: $(UPLOT_STAMP) ## unit tests, and tests on the mock cluster and on a real Kafka
	@scripts/setup.sh build test
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP)
	cargo test $(BUILD_FLAGS) --features klamm/failpoints --workspace $(ARGS)

crash-model: $(UPLOT_STAMP) ## the spool against N=1000000 schedules of faults and crashes, optimised
	@scripts/setup.sh build
	KLAMM_CRASH_MODEL=$(or $(N),1000000) cargo test $(BUILD_FLAGS) --release --lib -- --nocapture whatever_was_acknowledged

costs: $(UPLOT_STAMP) ## measure what an event costs in allocations and system calls, and commit it as tests/costs.json
	@scripts/setup.sh build test
	KLAMM_COSTS=commit cargo test $(BUILD_FLAGS) --test costs -- --nocapture allocations
	KLAMM_COSTS=commit cargo test $(BUILD_FLAGS) --test it -- --nocapture costs::system_calls

# What is measured is the release profile, on a machine with nothing else to do. Filters and other options of
# `klamm-load bench`: ARGS='--rows P1,P2 --rounds 3'.
bench: $(UPLOT_STAMP) ## klamm beside its yardsticks: target/bench/report.html (BENCH_FULL=1, BENCH_KAFKA=1 or host:port)
	@scripts/setup.sh build
	@case '$(BENCH_KAFKA)' in 1) scripts/setup.sh test; $(MAKE) -s --no-print-directory $(KAFKA_STAMP) ;; esac
	cargo build $(BUILD_FLAGS) --release --workspace --bins
	target/release/klamm-load bench $(if $(BENCH_FULL),--full) $(if $(BENCH_KAFKA),--kafka '$(BENCH_KAFKA)') $(ARGS)

bench-callgrind: $(UPLOT_STAMP) ## instructions per event, by valgrind
	@scripts/setup.sh build test callgrind
	cargo build $(BUILD_FLAGS) --release --bin klamm
	KLAMM_BINARY=target/release/klamm \
	  cargo test $(BUILD_FLAGS) --test it instructions_of_an_event -- --ignored --nocapture

memcheck: $(UPLOT_STAMP) ## the tests of the code over librdkafka's C interface, under valgrind
	@scripts/setup.sh build callgrind
	tests=$$(cargo test $(BUILD_FLAGS) --lib --no-run --message-format json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'); \
	  valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --suppressions=tests/valgrind.supp \
	  "$$tests" produce::kafka --test-threads 1

# The load and the brokers take what the release build of klamm leaves of the machine.
chaos: $(UPLOT_STAMP) ## nothing is lost under faults: three brokers, every kind of fault (MINUTES=10, SEED=n, KINDS=a,b); see docs/chaos.md
	@scripts/setup.sh build test
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP)
	cargo build $(BUILD_FLAGS) --release --workspace --bins
	KLAMM_BINARY=target/release/klamm $(if $(MINUTES),KLAMM_CHAOS_MINUTES=$(MINUTES)) $(if $(SEED),KLAMM_CHAOS_SEED=$(SEED)) \
	  $(if $(KINDS),KLAMM_CHAOS_KINDS=$(KINDS)) \
	  cargo test $(BUILD_FLAGS) --test it chaos::chaos -- --exact --ignored --nocapture

crash: $(UPLOT_STAMP) ## nothing acknowledged is lost by SIGKILL: a life after the other, killed under load (N=200)
	@scripts/setup.sh build test
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP)
	cargo build $(BUILD_FLAGS) --release --workspace --bins
	KLAMM_BINARY=target/release/klamm $(if $(N),KLAMM_CRASH_LIVES=$(N)) \
	  cargo test $(BUILD_FLAGS) --test it chaos::crash_loop -- --exact --ignored --nocapture

outage: $(UPLOT_STAMP) ## all brokers away under load (SECONDS=60), second by second, with a spool and without: target/outage.svg
	@scripts/setup.sh build test
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP)
	$(if $(SECONDS),KLAMM_OUTAGE_SECONDS=$(SECONDS)) \
	  cargo test $(BUILD_FLAGS) --test it spooling::drawn -- --ignored --nocapture

rolling: $(UPLOT_STAMP) ## three klamm behind HAProxy, replaced one by one under load, three rounds, and an outage of 30 s
	@scripts/setup.sh build test
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP)
	cargo build $(BUILD_FLAGS) --release --workspace --bins
	KLAMM_BINARY=target/release/klamm KLAMM_ROLLING=long \
	  cargo test $(BUILD_FLAGS) --test it rolling:: -- --nocapture --test-threads 1

dashboards: $(UPLOT_STAMP) ## write deploy/grafana/*.json from their source, tests/it/deploy/dashboards
	@scripts/setup.sh build
	KLAMM_DASHBOARDS=write cargo test $(BUILD_FLAGS) --test it deploy::dashboards::the_dashboards

chart: ## copy the rules and dashboards into the Helm chart, which must hold its files
	cp deploy/prometheus/rules.yml deploy/helm/klamm/files/
	rm -f deploy/helm/klamm/files/dashboards/*.json && cp deploy/grafana/*.json deploy/helm/klamm/files/dashboards/

chart-golden: ## write tests/deploy/helm/golden, what the chart renders for each of tests/deploy/helm/values (needs Go)
	tests/deploy/helm.sh --write

spool-rates: $(UPLOT_STAMP) ## what the spool alone keeps, recovers and holds in memory (writes 1 GiB)
	@scripts/setup.sh build
	cargo test $(BUILD_FLAGS) --release --workspace --lib spool::tests::rates -- --ignored --nocapture --test-threads 1

page-cost: $(UPLOT_STAMP) ## what the live page costs with 1,000 clients: CPU, bytes for a viewer, a scrape (7 minutes)
	@scripts/setup.sh build
	cargo build $(BUILD_FLAGS) --release --workspace --bins
	KLAMM_BINARY=target/release/klamm cargo test $(BUILD_FLAGS) --test it live::cost -- --ignored --nocapture --test-threads 1

pictures: $(UPLOT_STAMP) ## pictures of the live page after a minute of the demo, into target/ui
	@scripts/setup.sh build test
	cargo test $(BUILD_FLAGS) --test it live::pictures -- --ignored --nocapture

lint: $(UPLOT_STAMP) ## formatting, clippy, rustdoc, and licences and sources of the crates
	@scripts/setup.sh build lint
	cargo fmt --all --check
	cargo clippy $(BUILD_FLAGS) --workspace --all-targets --features klamm/failpoints -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(BUILD_FLAGS) --workspace --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	 else echo 'lint: cargo-deny is not installed, deny.toml was not checked (cargo install --locked cargo-deny)'; fi

uplot: $(UPLOT_STAMP) ## fetch the charts of the live page, which every goal here builds in

kafka: ## fetch the jars of the Kafka that the tests start
	@scripts/setup.sh test
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP)

demo-real: $(UPLOT_STAMP) ## real GitHub webhook payloads through `klamm serve` into a real Kafka, and back
	@scripts/setup.sh build test npm
	@$(MAKE) -s --no-print-directory $(KAFKA_STAMP) $(HOOKS_INDEX)
	KLAMM_DEMO_PAYLOADS='$(CURDIR)/$(HOOKS_INDEX)' \
	  cargo test $(BUILD_FLAGS) --test it demo_real -- --ignored --nocapture --test-threads 1

deb: $(CARGO_DEB) ## build the Debian package: target/debian/klamm_*.deb
	@scripts/setup.sh build npm deb
	scripts/build-deb.sh

test-deploy: deb ## what is deployed, installed and run; needs root for most of it (ONLY=deb, ALLOW_MISSING=1)
	@scripts/setup.sh build deb deploy
	@ONLY='$(ONLY)' ALLOW_MISSING='$(ALLOW_MISSING)' scripts/test-deploy.sh

fresh-check: ## README's commands in a Debian 12 with a Rust toolchain and nothing else, as root (STEPS=run,release,test)
	@scripts/setup.sh build deploy
	@STEPS='$(STEPS)' scripts/fresh-check.sh

$(CARGO_DEB):
	@scripts/setup.sh build
	cargo install --locked --force --root .cache/tools --version $(CARGO_DEB_VERSION) cargo-deb
	@touch $@

# Into a folder beside the final one first: a fetch that was cut leaves no half set of jars behind.
$(KAFKA_STAMP): $(KAFKA_POM)
	@echo 'kafka: fetching the jars of Apache Kafka $(KAFKA_VERSION) into $(KAFKA_HOME)'
	@rm -rf $(KAFKA_HOME) && mkdir -p $(KAFKA_HOME)/part
	@mvn -q -B -f $(KAFKA_POM) dependency:copy-dependencies \
	   -DoutputDirectory='$(CURDIR)/$(KAFKA_HOME)/part' -DincludeScope=runtime
	@mv $(KAFKA_HOME)/part $(KAFKA_HOME)/libs && touch $@

$(UPLOT_STAMP): $(UPLOT_PIN)
	@scripts/setup.sh build npm
	@echo 'uplot: fetching $(UPLOT_PACKAGE)'
	@rm -rf $(UPLOT_HOME) && mkdir -p $(UPLOT_HOME)
	@cd $(UPLOT_HOME) && npm pack --silent $(subst -,@,$(UPLOT_PACKAGE:.tgz=)) >/dev/null
	@cd $(UPLOT_HOME) && sha256sum --quiet -c '$(CURDIR)/$(UPLOT_PIN)' && tar xzf $(UPLOT_PACKAGE)
	@touch $@

$(HOOKS_INDEX):
	@echo 'demo-real: fetching @octokit/webhooks-examples $(HOOKS_VERSION)'
	@rm -rf $(HOOKS_HOME) && mkdir -p $(HOOKS_HOME)
	@cd $(HOOKS_HOME) && npm pack --silent @octokit/webhooks-examples@$(HOOKS_VERSION) >/dev/null && tar xzf ./*.tgz
	@touch $@
