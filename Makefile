# The workshop. `make` alone prints what there is.

export GOTOOLCHAIN := auto
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

FUZZTIME ?= 30s
# Flags of the bench program, e.g. make bench BENCH='-only hit -rounds 9'
BENCH ?=
# The -timeout of tests finds what hangs. It is no bound on how slow a machine may be.
# A C compiler, without which the race detector cannot be linked.
HAVE_CC := $(shell command -v "$$(go env CC)" 2>/dev/null)

.PHONY: help build check test test-long race fuzz bench diagram clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

build: ## build ./edge
	go build -o edge ./cmd/edge

check: ## vet, gofmt, house rules, and the linters that are installed
	go vet ./...
	go test -count=1 ./internal/houserules
	@if command -v golangci-lint >/dev/null; then \
		echo golangci-lint run; golangci-lint run ./...; \
	else echo "golangci-lint: not installed; the house rules above stand in for it"; fi
	@if command -v staticcheck >/dev/null; then \
		echo staticcheck ./...; staticcheck ./...; \
	else echo "staticcheck: not installed, left out"; fi

test: ## everything that has to be green: vet, house rules, all tests, and again under the race detector
	go vet ./...
	go test -timeout 30m ./...
	$(MAKE) --no-print-directory race

# The tests of the whole binary wait for most of their time: under the race detector
# they are run by test-long.
RACE ?= $$(go list ./... | grep -v /internal/e2e)

race: ## all tests but those of the whole binary under the race detector, where a C compiler is
ifneq ($(HAVE_CC),)
	CGO_ENABLED=1 go test -race -timeout 1h $(RACE)
else
	@echo "race: left out, since there is no C compiler here ($$(go env CC))"
endif

test-long: ## test, then the same with longer walks (EDGE_LONG=1) and every fuzz target for FUZZTIME
	$(MAKE) --no-print-directory test
	EDGE_LONG=1 go test -count=1 -timeout 2h ./...
	$(MAKE) --no-print-directory race RACE=./internal/e2e
	$(MAKE) --no-print-directory fuzz

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	@found=0; \
	for pkg in $$(go list ./...); do \
		targets=$$(go test -list '^Fuzz' $$pkg); \
		for f in $$(grep '^Fuzz' <<<"$$targets" || true); do \
			found=$$((found + 1)); \
			echo "go test -run '^$$' -fuzz ^$$f\$$ -fuzztime $(FUZZTIME) $$pkg"; \
			go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done; \
	echo "$$found fuzz targets, $(FUZZTIME) each"

bench: ## CPU per request beside peers and the kernel's floor, the herd, hit ratios
	go run ./bench $(BENCH)

.PHONY: conformance
# Flags of the conformance program, e.g. make conformance CONFORMANCE='-suite DIR'
CONFORMANCE ?=

conformance: ## run the public suite for HTTP caches (needs Node 20) and write docs/conformance.md
	go run ./conformance $(CONFORMANCE)

diagram: ## render the state diagram from the machine's table
	go test ./cache/statemachine -run TestDiagram -update

clean: ## remove what build and test left
	rm -rf edge bin
	go clean -testcache
