# Targets: test (all tests, with a real Filebeat), packages, lint, e2e, bench, soak, fuzz.
GO ?= go
FUZZTIME ?= 30s
# The tests are live, against real clocks, on machines that others share: one or two of a line below that fail are run once
# more, by themselves, and stay in its summary. A data race, a panic, a leak or a third failure ends it.
GOTEST = $(GO) tool -modfile=$(CURDIR)/tools/go.mod gotestsum --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=2 \
	--rerun-fails-abort-on-data-race --raw-command -- $(CURDIR)/tools/gotest

# The program's own tests run alone: a recorder is to be a recorder while six live beds are on.
test: packages lint
	PACKAGES="$$($(GO) list ./... | grep -v /cmd/halfopen$$ | xargs)" $(GOTEST) -race -timeout 20m
	PACKAGES=./cmd/halfopen $(GOTEST) -race -timeout 20m
	$(MAKE) e2e

# Programs that the tests set against ours, or work beside.
packages:
	@tools/need nft=nftables iptables-legacy=iptables ip=iproute2 journalctl=systemd tshark=tshark
	@tools/firewalld fetch

# The test bed with a real Filebeat, built as a dependency of a module of its own.
e2e:
	cd e2e && $(GO) vet ./... && PACKAGES=./... $(GOTEST) -count=1 -parallel 3 -timeout 20m

lint:
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "not gofmt-ed: $$bad"; exit 1; }
	$(GO) vet -tags flood ./...
	$(GO) tool -modfile=tools/go.mod staticcheck -tags flood ./...
	@if command -v govulncheck >/dev/null; then govulncheck ./...; else echo "govulncheck is not installed: not run"; fi

# Against rivals, among up to 90,000 sockets: eleven turns of each; the recorder, and 100 endpoints scraped, for eleven seconds each.
bench:
	$(GO) test -count=1 -run '^$$' -bench '^Benchmark(Rivals|Recorder|Sample|Scrapes|Tail)$$' -benchtime 11x ./beatstats ./logtail ./sockstate ./collect
	$(GO) test -count=1 -run '^$$' -bench '^BenchmarkDetect$$' -benchtime 3x ./cmd/halfopen
	$(MAKE) bench-filebeat

# Following a log of 1 GiB against the real Filebeat bringing it to its file output; part of bench.
LINES ?= 5368709
bench-filebeat:
	cd e2e && $(GO) test -count=1 -run '^$$' -bench '^BenchmarkFilebeat$$' -benchtime 1x -timeout 20m . -bench-lines $(LINES)

# What takes long: recorders killed thousands of times; the tail against a random writer, 100,000 operations of each kind,
# which overwrites the kernel's log, too.
soak:
	HALFOPEN_SOAK=1 $(GO) test -race -count=1 -timeout 60m -v -run '^Test(Kill|RecordKilled)$$' ./timeline ./cmd/halfopen
	$(GO) test -tags flood -count=1 -timeout 2h -run '^TestProperty|^TestKernelOverrun$$' ./logtail -logtail.ops 100000

# Every fuzz target of every package, FUZZTIME each.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg; \
		done; \
	done

.PHONY: test packages e2e lint bench bench-filebeat soak fuzz
