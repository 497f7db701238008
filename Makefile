# make help lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOL  := go tool -modfile=hack/tools/go.mod
# The build tags of a media server that mixes.
MIX    = libopus,nolibopusfile
# Where the Kubernetes binaries are; builds them the first time.
ASSETS = $$(go run ./hack/kubeassets --for=test)

.PHONY: help
help: ## Say what each target does.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run

.PHONY: demo
demo: ## Run everything on loopback, prove a room with two clients, print its link. CHECK=1 exits after the proof.
	@echo "compiling (minutes the first time, seconds later)"
	go run ./hack/demo $(if $(CHECK),--check)

##@ Test

.PHONY: test
test: test-web test-go test-browser ## Run every test: Go with -race, web, chart, real browsers.

.PHONY: test-go
test-go: ## Run the Go tests, with a real kube-apiserver and etcd.
	@echo "compiling with the race detector, then testing (ten minutes the first time, three later)"
	KUBEBUILDER_ASSETS="$(ASSETS)" go test -race -timeout 20m $$(go list ./... | grep -v -e /test/system -e /test/e2e -e /test/weak)
	@# It builds the commands itself, which the test cache does not know: -count=1.
	KUBEBUILDER_ASSETS="$(ASSETS)" go test -race -count=1 -timeout 20m ./test/system

.PHONY: test-mix
test-mix: ## Run the tests of the audience's mix, which need libopus (Debian: libopus-dev, pkg-config, gcc).
	@pkg-config --exists opus || { echo "libopus is not here: apt-get install libopus-dev pkg-config gcc"; exit 1; }
	go vet -tags $(MIX) ./media/... ./cmd/media
	go test -race -tags $(MIX) -timeout 10m ./media/opus
	go test -race -tags $(MIX) -timeout 10m -run Mix ./media

.PHONY: test-web
test-web: ## Check the types of the web client and run its unit tests.
	hack/npm-ci.sh web
	npm --prefix web test --silent

.PHONY: test-browser
test-browser: ## Let Chromium and Firefox talk to each other through a whole system on loopback, and over weak networks.
	hack/browsers.sh
	hack/npm-ci.sh test/browser
	go run ./hack/demo --run "npm --prefix test/browser test --silent"
	@# Without -race, whose cost is heard; -count=1: what browsers there are the test cache does not know.
	go test -count=1 -timeout 5m ./test/weak

.PHONY: e2e
e2e: ## Install on a real cluster, talk, kill, drain, upgrade, uninstall. Needs Docker, or root on Linux.
	@echo "getting a cluster (without Docker it is built, a quarter of an hour the first time), then using it"
	go run ./hack/cluster/cmd tools
	CLUSTER_TEST=1 go test -count=1 -timeout 10m ./hack/cluster
	go test -count=1 -timeout 30m -v ./test/e2e

.PHONY: torture
torture: ## Race 64 callers for seats while what serves them is killed, wedged and cut off, and judge every answer. N=20000, SEED=.
	go run ./test/torture -n $(or $(N),20000) $(if $(SEED),-seed $(SEED))

.PHONY: fuzz
fuzz: ## Fuzz every parser of bytes from the network, FUZZTIME=10s each.
	hack/fuzz.sh $(or $(FUZZTIME),10s)

.PHONY: soak
soak: ## Run for hours what CI has no time for: the room against its model, ROOMSTEPS=10000000; simulated worlds, SEEDS=100000 from SEED=1; a call while everything is down, OUTAGE=10m; each fuzz target, FUZZTIME=10m.
	go test -count=1 -timeout 0 -v -run '^TestModel$$' ./room -room.steps=$(or $(ROOMSTEPS),10000000) | grep -v 'rapid. OK'
	go test -count=1 -timeout 0 -v -run '^TestSeeds$$' ./test/sim -seeds=$(or $(SEEDS),100000) -seed=$(or $(SEED),1)
	KUBEBUILDER_ASSETS="$(ASSETS)" go test -count=1 -timeout 0 -v -run '^TestEverythingIsDown$$' ./test/system -outage=$(or $(OUTAGE),10m)
	$(MAKE) --no-print-directory fuzz FUZZTIME=$(or $(FUZZTIME),10m)

.PHONY: bench
bench: ## Run the benchmarks; each prints its ratio to a floor of the same run.
	go test -run '^$$' -bench . -benchtime $(or $(BENCHTIME),1s) ./room/... ./token/... ./chat/... ./media/...

.PHONY: bench-rooms
bench-rooms: ## Measure what rooms cost the control plane, beside a bare client's writes: ready, rooms a second, memory, CPU, writes. ROOMS=10000 takes half an hour.
	go run ./test/bench/rooms -rooms $(or $(ROOMS),10000)

.PHONY: bench-failover
bench-failover: ## Measure how long a room is silent when its media pod is killed, N=300; wedged, cut off, deleted: 30 each.
	go run ./test/bench/failover -n $(or $(N),300)
	for fault in wedge cut migrate; do go run ./test/bench/failover -fault $$fault -n $(or $(REST),30); done

.PHONY: bench-media
bench-media: ## Measure what rooms cost the media server, beside a bare sender and a room on PeerConnections: CPU a packet, listeners a core, latency, memory, joins; draws bin/bench-media.png. Ten minutes; QUICK=1 two.
	@mkdir -p bin
	go build -o bin/bench-media ./test/bench/media
	bin/bench-media -plot bin/bench-media.png $(if $(QUICK),-quick)

.PHONY: bench-weak
bench-weak: ## Measure what browsers make up on weak networks, with and without FEC, RED and NACK, and their jitter buffers at each audience tick. LOSS=0,20 in percent, JITTER=100ms and BURST=3 too, DURATION=10 s a cell; the tables go to bin/bench-weak.md.
	hack/browsers.sh
	go run ./test/bench/weak $(if $(LOSS),-loss $(LOSS)) $(if $(JITTER),-jitter $(JITTER)) $(if $(BURST),-burst $(BURST)) -seconds $(or $(DURATION),10) -out bin/bench-weak.md

.PHONY: lint
lint: ## Lint, check the import rule, and check that generated files are current.
	@echo "building the linter (minutes the first time), then linting"
	$(TOOL) golangci-lint run
	$(MAKE) --no-print-directory generate
	git diff --exit-code -- api config charts || { echo "make generate changed files: commit them"; exit 1; }

.PHONY: vuln
vuln: ## Look for known vulnerabilities (needs the vulnerability database).
	$(TOOL) govulncheck ./...

.PHONY: alerts
alerts: ## Check the chart's alerts and dashboard with promtool, and run the alerts' unit tests.
	@echo "building promtool (minutes the first time), then checking"
	hack/alerts.sh

##@ Build

.PHONY: build
build: ## Build the commands into bin/.
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

.PHONY: build-mix
build-mix: ## Build bin/media so that it can mix, with libopus (Debian: libopus-dev, pkg-config, gcc).
	CGO_ENABLED=1 go build -trimpath -tags $(MIX) -o bin/ ./cmd/media

.PHONY: generate
generate: ## Generate deepcopy, CRDs, RBAC, and the manifests of config/default.
	hack/generate.sh

.PHONY: clean
clean: ## Remove what was built here.
	rm -rf bin dist web/node_modules test/browser/node_modules
