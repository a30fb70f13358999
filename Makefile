# Targets: test (all tests, with a real Filebeat), lint, e2e, bench, fuzz.
GO ?= go
FUZZTIME ?= 30s

test: lint
	$(GO) test -race ./...
	$(MAKE) e2e

# The test bed with a real Filebeat, built as a dependency of a module of its own.
e2e:
	cd e2e && $(GO) vet ./... && $(GO) test -count=1 -parallel 3 -timeout 20m ./...

lint:
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "not gofmt-ed: $$bad"; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	@if command -v govulncheck >/dev/null; then govulncheck ./...; else echo "govulncheck is not installed: not run"; fi

# Against rivals, among up to 90,000 sockets: eleven turns of each, and the recorder for eleven seconds.
bench:
	$(GO) test -count=1 -run '^$$' -bench '^Benchmark(Rivals|Recorder)$$' -benchtime 11x ./sockstate ./collect

# Every fuzz target of every package, FUZZTIME each.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: test e2e lint bench fuzz
