# Holdfast. `make help` lists what there is; the work is done by scripts/.
.DEFAULT_GOAL := help
.PHONY: help run test check bench shots generate generated-fresh lint-openapi soak fresh

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: ## build and run Holdfast with its demonstration; FRESH=1 starts over
	@FRESH='$(FRESH)' scripts/run

test: ## everything that CI runs; installs what it needs (Debian, as root or with sudo)
	@scripts/test

check: ## the fast inner loop: format, vet, all Go tests on both engines without the race detector
	@scripts/check

bench: ## benchmarks, on both engines
	@scripts/bench

shots: ## pictures of every page in every state into .run/shots, with checks
	@scripts/stage shots

generate: ## regenerate what is made from api/holdfast/v1/*.proto
	@scripts/generate

generated-fresh: ## fail when committed generated files differ from what would be generated
	@scripts/generate --check

lint-openapi: ## check the OpenAPI document
	@scripts/stage openapi

soak: ## the seeded tests with many runs and longer fuzzing; takes hours
	@scripts/soak

fresh: ## prove `make run` and `make test` on a clone with an empty home
	@scripts/fresh
