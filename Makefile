# kproxy. `make help` lists the targets.

GOLANGCI_VERSION := v2.15.0
ACTIONLINT_VERSION := v1.7.7
GORELEASER_VERSION := v2.15.1
NFPM_VERSION := v2.45.2
HELM_VERSION := v4.3.2
KUBERNETES_VERSION := 1.34.4
CYCLONEDX_VERSION := v1.10.0
GOLANGCI := $(CURDIR)/.cache/bin/golangci-lint-$(GOLANGCI_VERSION)
GORELEASER := $(CURDIR)/.cache/bin/goreleaser-$(GORELEASER_VERSION)
NFPM := $(CURDIR)/.cache/bin/nfpm-$(NFPM_VERSION)
CYCLONEDX := $(CURDIR)/.cache/bin/cyclonedx-gomod
HELM := $(CURDIR)/.cache/bin/helm-$(HELM_VERSION)
KUBERNETES := $(CURDIR)/.cache/kubernetes-v$(KUBERNETES_VERSION)
FUZZ_PACKAGES := ./internal/foreign ./internal/speaks ./internal/doctor ./internal/wire ./internal/hostport ./internal/upstream ./internal/tlsconf ./internal/via ./internal/connect ./internal/auth ./internal/endpoints ./proxy/config ./rewrite ./cmd/kproxy ./e2e/history
T ?= 60s
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./kproxy, static
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o kproxy ./cmd/kproxy

SIGN := $(if $(GPG_KEY),,--skip=sign)

.PHONY: packages
packages: $(GORELEASER) $(CYCLONEDX) ## archives, packages, the formula, SBOMs and checksums of this commit, in dist/
	PATH="$(dir $(CYCLONEDX)):$$PATH" $(GORELEASER) release --snapshot --clean $(SIGN) $(FLAGS)

.PHONY: release
release: $(GORELEASER) $(CYCLONEDX) ## the same of the tag that is checked out, signed if GPG_KEY is set, and published as a draft: make release FLAGS=--skip=publish
	mkdir -p .cache
	packaging/notes "$$(git describe --tags --exact-match | sed s/^v//)" >.cache/notes.md
	PATH="$(dir $(CYCLONEDX)):$$PATH" $(GORELEASER) release --clean --release-notes .cache/notes.md $(SIGN) $(FLAGS)

$(GORELEASER):
	mkdir -p $(dir $@)
	CGO_ENABLED=0 GOBIN=$(dir $@) go install -trimpath -ldflags '-s -w' github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION)
	mv $(dir $@)goreleaser $@

$(NFPM):
	mkdir -p $(dir $@)
	CGO_ENABLED=0 GOBIN=$(dir $@) go install -trimpath -ldflags '-s -w' github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)
	mv $(dir $@)nfpm $@

$(HELM):
	mkdir -p $(dir $@)
	CGO_ENABLED=0 GOBIN=$(dir $@) go install -trimpath -ldflags '-s -w' helm.sh/helm/v4/cmd/helm@$(HELM_VERSION)
	mv $(dir $@)helm $@

$(CYCLONEDX):
	mkdir -p $(dir $@)
	CGO_ENABLED=0 GOBIN=$(dir $@) go install -trimpath -ldflags '-s -w' github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)

.PHONY: man
man: ## the manual pages of all commands, in dist/man
	rm -rf dist/man
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) go run -ldflags '-X main.version=$(VERSION)' ./cmd/kproxy man dist/man

.PHONY: docs
docs: ## write docs/configuration.md and the JSON schema from the configuration's keys
	go test ./cmd/kproxy -run 'Schema|ConfigurationPage' -update

.PHONY: dashboards
dashboards: ## write the dashboards for Grafana, and the chart's copies, from configs/grafana
	cd configs/grafana && go run .
	go test ./configs/helm -run TestFiles -update

.PHONY: test
test: ## the fast tests: no network, no JVM
	go test ./...

.PHONY: test-copy
test-copy: ## the proxy's tests with splicing off, as on other systems
	go test ./proxy -proxy.copy

.PHONY: test-tls
test-tls: ## those of the proxy's tests that do not need plain TCP, over TLS on both sides
	go test ./proxy -proxy.tls

N ?= 10000
SEED ?= 1
SOCKETS ?= 100

.PHONY: simulate
simulate: ## N seeds of clients, brokers and faults in memory, and SOCKETS over sockets: make simulate N=100000 SEED=7
	go test ./internal/simulate -count=1 -timeout=0 -v -run '^(TestSeeds|TestSockets)$$' -simulate.n=$(N) -simulate.seed=$(SEED) -simulate.sockets=$(SOCKETS)

.PHONY: simulate-failpoints
simulate-failpoints: ## SOCKETS seeds over sockets while the system calls of the hot path fail
	go test -tags failpoints ./internal/simulate -count=1 -timeout=10m -v -run '^TestFailpoints$$' -simulate.failpoints=$(SOCKETS) -simulate.seed=$(SEED)

.PHONY: simulate-planted
simulate-planted: ## the simulation finds each of the faults in internal/simulate/planted (20 minutes)
	internal/simulate/planted/run

.PHONY: test-rules
test-rules: ## the alerts for Prometheus: each fires in its fault, and only there (promtool)
	promtool check rules configs/prometheus/kproxy.rules.yaml
	promtool test rules configs/prometheus/kproxy.test.yaml

.PHONY: test-module
test-module: ## the modules of their own: a program that imports kproxy's public packages; the Terraform of the pages; the dashboards
	cd e2e/module && go vet ./... && go test ./...
	cd e2e/terraform && go vet ./... && go test ./...
	cd configs/grafana && go vet ./... && go test ./...

.PHONY: race
race: ## the fast tests under the race detector
	go test -race ./...

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint, pinned, with the arrows between packages; actionlint for the workflows; the words of comments; dependencies and their licences
	$(GOLANGCI) run ./...
	cd configs/grafana && $(GOLANGCI) run ./...
	@large=$$(git ls-files -z | xargs -0 sh -c 'find "$$@" -maxdepth 0 -size +1000k' find) && [ -z "$$large" ] || { echo "larger than a megabyte, as a program is: $$large"; exit 1; }
	go run ./internal/prose
	go run ./internal/dependencies
	go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

$(GOLANGCI):
	mkdir -p $(dir $@)
	GOBIN=$(dir $@) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(dir $@)golangci-lint $@

.PHONY: count
count: ## the size of each package: files, lines, types, functions, methods, arrows between files
	@go run ./internal/count ./proxy/... ./rewrite ./internal/... ./cmd/...

.PHONY: rename
rename: ## another module path, wherever it is written: make rename MODULE=example.com/you/kproxy
	.ci/rename $(MODULE)

.PHONY: fmt
fmt: $(GOLANGCI) ## format the code
	$(GOLANGCI) fmt ./...

# Go 1.26 can end a target with a bare "context deadline exceeded" and no failing
# input when its time is up (go.dev/issue/75804); that is no finding.
.PHONY: fuzz
fuzz: ## every fuzz target for T (60s): make fuzz T=5m
	@for package in $(FUZZ_PACKAGES); do \
		targets=$$(go test -list '^Fuzz' $$package | grep '^Fuzz') || { echo "$$package has no fuzz target"; exit 1; }; \
		for target in $$targets; do \
			echo "== $$package $$target ($(T))"; \
			if out=$$(go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(T) -fuzzminimizetime 1s $$package 2>&1); then \
				echo "$$out" | tail -n 3; \
			elif echo "$$out" | grep -q 'context deadline exceeded' && ! echo "$$out" | grep -q 'Failing input'; then \
				echo "$$out" | grep execs | tail -n 1; \
			else \
				echo "$$out"; exit 1; \
			fi; \
		done; \
	done

.PHONY: e2e
e2e: ## real Kafka brokers and real clients (Java 17, Maven, kcat, Prometheus, sshd, HAProxy, nc); a skip is a failure
	go test -tags e2e -count=1 -timeout 30m -p 1 -v ./e2e/ ./e2e/lab ./e2e/brokers ./e2e/decoders ./e2e/login ./e2e/herd ./e2e/doctor ./e2e/systemd ./e2e/sockhash ./e2e/sandbox ./e2e/container

.PHONY: e2e-packages-quick
e2e-packages-quick: $(NFPM) ## the packages installed, upgraded under load and removed by dpkg and rpm (root)
	E2E_NFPM=$(NFPM) go test -tags e2e -count=1 -timeout 10m -v ./e2e/packages

DEBROOT := $(CURDIR)/e2e/.cache/debroot

.PHONY: e2e-packages
e2e-packages: $(NFPM) $(DEBROOT)/.made reproducible ## the same in a root by debootstrap too, and a release by goreleaser, twice (root, debootstrap, ruby, gpg)
	E2E_NFPM=$(NFPM) E2E_ROOT=$(DEBROOT) go test -tags e2e -count=1 -timeout 20m -v ./e2e/packages

.PHONY: reproducible
reproducible: $(GORELEASER) $(CYCLONEDX) ## a release made in two folders has the same bytes; its SBOMs, signature and formula (E2E_TARGETS=linux_amd64: one target)
	PATH="$(dir $(CYCLONEDX)):$$PATH" E2E_GORELEASER=$(GORELEASER) go test -tags e2e -count=1 -timeout 60m -v ./e2e/packages/release

$(DEBROOT)/.made:
	rm -rf $(DEBROOT)
	debootstrap --variant=minbase --include=systemd,rpm,procps bookworm $(DEBROOT) $(MIRROR)
	touch $@

.PHONY: e2e-chart
e2e-chart: $(HELM) ## the chart: golden manifests (FLAGS=-update writes them), helm lint, valid for Kubernetes 1.28 to 1.37, kproxy check (Python)
	E2E_HELM=$(HELM) go test -tags e2e -count=1 -timeout 10m -v ./e2e/chart $(FLAGS)

.PHONY: e2e-kubernetes
e2e-kubernetes: $(HELM) $(KUBERNETES)/.made ## the chart on a Kubernetes of its own, with real pods, 500 clients and real brokers (root, podman, runc, openssl, HAProxy, a JDK 17; the first time builds Kubernetes, 10 minutes or more)
	E2E_HELM=$(HELM) E2E_KUBERNETES=$(KUBERNETES) go test -tags e2e -count=1 -timeout 15m -v ./e2e/kubernetes

.PHONY: kubernetes
kubernetes: $(HELM) $(KUBERNETES)/.made ## the same Kubernetes, to try the chart by hand until Ctrl-C; it prints how to enter
	E2E_HOLD=1 E2E_HELM=$(HELM) E2E_KUBERNETES=$(KUBERNETES) go test -tags e2e -count=1 -timeout 0 -v ./e2e/kubernetes

$(KUBERNETES)/.made:
	e2e/kubernetes/build $(KUBERNETES) $(KUBERNETES_VERSION)

.PHONY: reloads
reloads: ## 300 reloads under load, by real clients; their history must have no findings (two minutes)
	E2E_RELOADS=300 go test -tags e2e -count=1 -timeout 15m ./e2e -run TestReloads$$ -v

OLD ?= last

# Nothing can be fetched in its network: the first command fetches the parts of the brokers and of kproxy.
.PHONY: handovers
handovers: ## 30 hand-overs under load, two of them to OLD (the last tag, or the first commit with hand-over) and back; herds, roll back, reuse_port (root; 10 minutes)
	go test -tags e2e,handovers -count=1 -timeout 10m ./e2e -run '^$$'
	E2E_HANDOVERS=30 E2E_OLD=$(OLD) go test -tags e2e,handovers -count=1 -timeout 40m -exec $(CURDIR)/e2e/isolated ./e2e \
		-run '^(TestHandOvers|TestHandOverHerd|TestRollBack|TestReusePort)$$' -v

.PHONY: container
container: ## kproxy in containers refuses a hand-over (podman, runc, catatonit; root); part of make e2e
	go test -tags e2e -count=1 -timeout 5m -v ./e2e/container

.PHONY: e2e-containers
e2e-containers: ## the compose files of configs/compose by podman, and with E2E_DOCKER=1 by the docker client; prints the table of docs/containers.md (root, podman, a JDK; six minutes)
	go test -tags e2e -count=1 -timeout 15m -v ./e2e/story

.PHONY: browser
browser: ## pages of other sites in a real browser change nothing at the admin server; the status page, by Playwright and axe-core (Chromium, node, npm; E2E_SCREENSHOTS=DIR keeps the pictures)
	go test -tags e2e -count=1 -timeout 8m -v ./e2e/browser

.PHONY: test-api
test-api: ## the API of the admin server by schemathesis, as its OpenAPI document says (Python; E2E_EXAMPLES=100 asks more of each path, E2E_SEED=N others)
	go test -tags e2e -count=1 -timeout 10m -v ./e2e/openapi

.PHONY: doctor-faults
doctor-faults: ## plant faults before kproxy doctor, and compare its verdicts and fixes (root, Java 17, HAProxy, sshd, nft)
	go test -tags e2e -count=1 -timeout 15m -v ./e2e/doctor

.PHONY: compat
compat: ## every Kafka from 2.2 on with every client: writes docs/compatibility.md (more than an hour)
	go run ./e2e/compat --out docs/compatibility.md

.PHONY: compat-quick
compat-quick: ## every Kafka with two clients, every client with the newest Kafka (22 minutes on two cores)
	go run ./e2e/compat --quick

.PHONY: transcripts
transcripts: ## record the frames that rewrite's tests replay, from every Kafka
	go run ./e2e/compat --record rewrite/testdata/transcripts

.PHONY: faults
faults: ## the effects of faults on clients, with kproxy and without; writes docs/faults.md (root, Java 17, kcat, nft)
	go run ./e2e/faults

.PHONY: faults-sockhash
faults-sockhash: ## the same with every socket in an eBPF sockhash; writes the page's second table (root, bpf(2), cgroups of version 2)
	go run ./e2e/faults -sockhash

.PHONY: herd
herd: ## thousands of clients at once: herds, floods, dawdlers; writes docs/herd.md (4 minutes, on an idle machine)
	go run ./e2e/herd

.PHONY: accepts
accepts: ## the time until a new connection has its first response among 9,000, with the status page open and a scrape each second; prints a table (3 minutes, on an idle machine)
	go run ./e2e/herd -seen

.PHONY: suites
suites: ## the test suites of other projects, through kproxy and directly; writes docs/suites.md (root, Java 17, npm, g++; more than an hour)
	go run ./e2e/suites --out docs/suites.md --tables dist/suites

.PHONY: suites-quick
suites-quick: ## franz-go's own tests through kproxy, with fake brokers of five releases (root)
	go run ./e2e/suites --quick --tables dist/suites

.PHONY: soak
soak: T := 1h
soak: ## one kproxy under load of every kind for T (1h): dist/soak.html, .md and .json, and whether anything grows (root, Java 17)
	go run ./e2e/soak -t $(T)

.PHONY: soak-planted
soak-planted: ## the same finds leaks of memory, files and goroutines that are built into kproxy (six minutes)
	go run ./e2e/soak -t 4m -each 3s -plant memory,files,goroutines -out dist/soak-planted

.PHONY: bench
bench: ## the cost of kproxy and of other proxies: dist/bench.html and .json (root; hours: go run ./bench --list)
	mkdir -p dist
	go run ./bench --json dist/bench.json --html dist/bench.html

.PHONY: bench-quick
bench-quick: ## the same for a first look, within two minutes
	mkdir -p dist
	go run ./bench --quick --json dist/bench.json --html dist/bench.html

.PHONY: demo
demo: ## kproxy in front of three fake brokers that no client can reach
	go run ./cmd/kproxy demo

.PHONY: image
image: ## the container image, with buildah or docker, whichever is there; by buildah, the same commit gives the same layers
	@if command -v buildah >/dev/null; then \
		buildah build --format docker --timestamp "$$(git log -1 --format=%ct)" $(IMAGE_FLAGS) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) -t kproxy:$(VERSION) .; \
	elif command -v docker >/dev/null; then \
		docker build $(IMAGE_FLAGS) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) -t kproxy:$(VERSION) .; \
	else \
		echo "neither buildah nor docker is installed" >&2; exit 1; \
	fi
