.DEFAULT_GOAL := help
.PHONY: help run build web check format test package fuzz bench soak chaos clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the main job from nothing: database, service, page, sample tasks
	@exec dev/run

build: web ## release build of event-service and of web/
	swift build -c release --static-swift-stdlib --product event-service
	swift build -c release --static-swift-stdlib --product event-service-load

web:
	@dev/bootstrap run
	@dev/build-web

check: ## format, lint, warnings as errors
	@dev/check

format: ## formats all Swift
	swift format -i -r -p Package.swift Sources Tests bench

test: ## every test there is, against servers of its own
	@exec dev/test

package: build ## a Debian package in .local/package
	@dev/bootstrap package
	@dev/package

fuzz: ## the fuzz targets, ten minutes each
	@FUZZ_SECONDS=600 dev/fuzz

bench: build ## benchmarks, beside what else one could use; SCENARIO="writers latency" runs some
	@dev/bootstrap bench
	@bench/run $(SCENARIO)

soak: build ## churn for SECONDS (600), and whether memory and descriptors stay flat
	@dev/bootstrap bench
	@bench/soak $(SECONDS)

chaos: build ## ten minutes of faults against real processes; CHAOS_SECONDS, CHAOS_SEED
	@dev/bootstrap test
	@dev/chaos

clean: ## removes what was built
	rm -rf .build web/dist
