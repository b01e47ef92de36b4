# The tasks of a clone. `make` alone lists the targets; scripts/setup installs the packages that each one needs.

.DEFAULT_GOAL := help
FUZZ_SECONDS = 300
.PHONY: help demo docs test test-builds test-kernels test-month test-cron test-versions test-ansible dist test-dist fuzz update lint check-types format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## trace real traffic on a fleet of seven hosts on this machine (root)
	@scripts/setup demo
	@.venv/bin/fleettrace demo $(DEMO_ARGS)

test: ## lint, check types, run every test (root)
	@scripts/setup test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict
	.venv/bin/pytest -n 2 --dist loadscope $(PYTEST_ARGS)

test-builds: ## trace 45 builds of memcached; writes the table in docs/probes.md (root, 5 minutes; the first time 11)
	@scripts/setup test
	.venv/bin/pytest tests/matrix -m builds -n 0 $(BUILDS_ARGS); code=$$?; \
	    .venv/bin/python -m tests.matrix.results && exit $$code

test-kernels: ## boot Debian's kernels under QEMU and trace on each; writes docs/machines.md (root, an hour or more)
	@scripts/setup test
	.venv/bin/pytest tests/machines -m machines -n 2 --dist loadscope $(KERNELS_ARGS); code=$$?; \
	    .venv/bin/python -m tests.machines.results && exit $$code

test-month: ## audit a simulated fleet hourly, six months long; writes docs/audited-month.md (root, 4 minutes)
	@scripts/setup test
	.venv/bin/pytest tests/month -m month -n 2 $(MONTH_ARGS); code=$$?; \
	    .venv/bin/python -m tests.month.results && exit $$code

test-cron: ## audit under a real cron for an hour: overlaps, logrotate, two users (root; CRON_MINUTES=8 shortens it)
	@scripts/setup test
	.venv/bin/pytest tests/integrations/test_cron.py tests/e2e/test_cron_hour.py -m cron -n 0 -s $(CRON_ARGS)

test-versions: ## run the tests without a fleet, with the newest and the lowest allowed libraries (root)
	@scripts/setup test
	@scripts/test-versions $(PYTEST_ARGS)

test-ansible: ## test the collection with the lowest and the newest ansible-core, and ansible-lint (root, 3 minutes)
	@scripts/setup test
	@scripts/test-ansible $(PYTEST_ARGS)

dist: ## build wheel, sdist, fleettrace.pyz and Debian packages of the last commit in dist/, reproducibly
	@scripts/setup tools
	.venv/bin/python -m release $(DIST_ARGS)

test-dist: ## build twice and compare; install each package as a user would, and trace with it (root, 10 minutes)
	@scripts/setup dist
	.venv/bin/pytest tests/dist -m dist -n 0 $(DIST_ARGS)

fuzz: ## mutate nodes' output, discovery reports and binaries, FUZZ_SECONDS=300 each
	@scripts/setup test
	.venv/bin/python -m tests.node.fuzz_output --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)
	.venv/bin/python -m tests.binary.fuzz_elf --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

update: ## update requirements/*.txt to the newest libraries that pyproject.toml allows, and test (root)
	@scripts/setup tools
	scripts/lock
	@$(MAKE) --no-print-directory test

docs: ## write docs/reference/, the manual pages, shell completion and README's help block from the code
	@scripts/setup tools
	.venv/bin/python -m docs.generate

lint: ## run ruff: rules and format
	@scripts/setup tools
	.venv/bin/ruff check
	.venv/bin/ruff format --check

check-types: ## run mypy --strict
	@scripts/setup tools
	.venv/bin/mypy --strict

format: ## rewrite the code with ruff
	@scripts/setup tools
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

clean: ## remove the virtual environments, caches and builds
	rm -rf .venv .venv-* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
