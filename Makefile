# Everything this project does from a clone. `make` alone lists the targets; scripts/setup installs what each one needs.

.DEFAULT_GOAL := help
FUZZ_SECONDS = 300
.PHONY: help demo docs test test-builds test-kernels test-versions fuzz update lint check-types format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## trace a fleet of seven hosts made on this machine, for real (root)
	@scripts/setup demo
	@.venv/bin/fleettrace demo $(DEMO_ARGS)

test: ## lint, check types, run every test (root)
	@scripts/setup test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict
	.venv/bin/pytest -n 2 --dist loadscope $(PYTEST_ARGS)

test-builds: ## trace memcached built in 45 ways; writes the table in docs/probes.md (root, about 5 minutes, and 6 more for the first time)
	@scripts/setup test
	.venv/bin/pytest tests/matrix -m builds -n 0 $(BUILDS_ARGS); code=$$?; \
	    .venv/bin/python -m tests.matrix.results && exit $$code

test-kernels: ## boot Debian's kernels under QEMU and trace on each; writes docs/machines.md (root, an hour or more)
	@scripts/setup test
	.venv/bin/pytest tests/machines -m machines -n 2 --dist loadscope $(KERNELS_ARGS); code=$$?; \
	    .venv/bin/python -m tests.machines.results && exit $$code

test-versions: ## the tests without a fleet, with the newest and with the lowest libraries allowed (root)
	@scripts/setup test
	@scripts/test-versions $(PYTEST_ARGS)

fuzz: ## mutate what nodes print, discoveries and binaries, FUZZ_SECONDS=300 each
	@scripts/setup test
	.venv/bin/python -m tests.node.fuzz_output --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)
	.venv/bin/python -m tests.binary.fuzz_elf --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

update: ## renew requirements/*.txt to the newest libraries allowed by pyproject.toml, and test (root)
	@scripts/setup tools
	scripts/lock
	@$(MAKE) --no-print-directory test

docs: ## write docs/reference/, the manual pages, shell completion and README's help block from the code
	@scripts/setup tools
	.venv/bin/python -m docs.generate

lint: ## ruff: rules and format
	@scripts/setup tools
	.venv/bin/ruff check
	.venv/bin/ruff format --check

check-types: ## mypy --strict
	@scripts/setup tools
	.venv/bin/mypy --strict

format: ## let ruff rewrite the code
	@scripts/setup tools
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

clean: ## remove the virtual environments, caches and builds
	rm -rf .venv .venv-* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
