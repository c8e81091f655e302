# make test, make demo: all set-up on a machine with Python 3.11+, git and make; the second run
# finds it done. make check runs what CI runs before the tests. make help lists the rest.
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all test-offline check format generate bench lock peers \
	all-peers surface release-tree dist release-files docs container clean
.DELETE_ON_ERROR:

# Where it is set, every Python that a test starts would compile all that it imports anew.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
PY := $(VENV)/bin/python
# pip's own configuration decides where packages come from; we only insist on wheels and hashes.
# Locks are complete, so pip resolves nothing: it compares extras with releases that came later.
INSTALL := $(PY) -m pip install -qq --disable-pip-version-check --no-compile \
	--require-hashes --only-binary :all: --no-deps
WORKERS ?= auto
RUN_TESTS := $(PY) scripts/run_tests.py --workers $(WORKERS)
PEERS := model-signing ministack moto seaweedfs fake-gcs openbao azurite docker-registry softhsm nss skopeo oras opa age tekton-lint docs
# What takes long to get, and few tests need: a container engine and a base image.
ALL_PEERS := $(PEERS) podman

help:
	@echo 'make demo      a model from one zone to another, on this machine, no account needed'
	@echo '               (STORE=s3: through an object store, with keys in a key service)'
	@echo 'make test      the tests, against the real peers'
	@echo 'make test-all  those, and what takes long: containers, kills at every step, all examples'
	@echo 'make check     formatting, lint, types, import contracts, generated files'
	@echo 'make format    put formatting right'
	@echo 'make generate  write Actions, Tasks and reference pages anew from the commands'
	@echo 'make bench     measure against model_signing, age and tink'
	@echo 'make peers     install what the tests compare us with, into .cache/'
	@echo 'make lock      resolve requirements/*.txt anew from pyproject.toml'
	@echo 'make release-tree TO=DIR  what a release tag holds: each verb at the root'
	@echo 'make container ENGINE=podman  the image that the Tasks run (docs/container.md)'
	@echo 'make dist      wheel, sdist and tree of actions, each made twice and compared'
	@echo 'make docs      the pages, strictly, into build/docs'
	@echo 'make clean     remove environments, caches and build output'

# --- environments -----------------------------------------------------------------------------
$(VENV)/.made: scripts/find-python
	@python=$$(scripts/find-python) && echo "python: $$python" && \
		rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@touch $@

# What the demo and a user need: the locked dependencies, then this checkout itself, built by
# locked tools.
$(VENV)/.demo: $(VENV)/.made pyproject.toml requirements/build.txt requirements/demo.txt
	@echo 'installing: requirements/demo.txt'
	@$(INSTALL) -r requirements/build.txt -r requirements/demo.txt
	@$(PY) -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.test: $(VENV)/.demo requirements/test.txt
	@echo 'installing: requirements/test.txt'
	@$(INSTALL) -r requirements/test.txt
	@touch $@

venv: $(VENV)/.test

.cache/peers/model-signing/.installed: requirements/peer-model-signing.txt
.cache/peers/opa/.installed: requirements/peer-opa.txt
.cache/peers/docs/.installed: requirements/docs.txt
.cache/peers/ministack/.installed: requirements/peer-ministack.txt
.cache/peers/moto/.installed: requirements/peer-moto.txt
.cache/peers/seaweedfs/.installed: requirements/peer-seaweedfs.txt
.cache/peers/openbao/.installed: requirements/peer-openbao.txt
.cache/peers/tekton-lint/.installed: requirements/tekton-lint/package-lock.json
.cache/peers/%/.installed: scripts/peer $(VENV)/.made
	@scripts/peer $*

peers: $(PEERS:%=.cache/peers/%/.installed)
all-peers: $(ALL_PEERS:%=.cache/peers/%/.installed)

# --- what one runs ----------------------------------------------------------------------------
$(VENV)/.aws: $(VENV)/.demo requirements/aws.txt
	@echo 'installing: requirements/aws.txt'
	@$(INSTALL) -r requirements/aws.txt
	@touch $@

# STORE=s3: an object store and a key service on this machine in place of folders and key files.
CLOUD := $(VENV)/.aws .cache/peers/ministack/.installed .cache/peers/seaweedfs/.installed
demo: $(VENV)/.demo $(if $(STORE),$(CLOUD))
	@DEMO_STORE=$(STORE) $(PY) demo/run.py

# Both parts run even if the first fails; the unit tests run without network where possible.
test: $(VENV)/.test peers
	@$(RUN_TESTS) -- $(PYTEST_ARGS)

test-all: $(VENV)/.test all-peers
	@$(RUN_TESTS) --all -- $(PYTEST_ARGS)

test-offline: $(VENV)/.test
	@scripts/offline $(PY) -m pytest -q -n $(WORKERS) $(PYTEST_ARGS) tests/unit

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m sovgate.surface --check
	$(PY) scripts/check_readme.py

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

generate: $(VENV)/.demo
	$(PY) -m sovgate.surface
	$(PY) scripts/check_readme.py --write

bench: $(VENV)/.test peers
	$(PY) -m bench

# --- keeping house ----------------------------------------------------------------------------
.cache/lock/bin/uv: requirements/lock.txt $(VENV)/.made
	@$(PY) -m venv .cache/lock
	@.cache/lock/bin/python -m pip install -qq --disable-pip-version-check --require-hashes \
		--only-binary :all: --no-deps -r requirements/lock.txt
	@touch $@

lock: .cache/lock/bin/uv
	scripts/lock $(LOCK_ARGS)

# After a command changed. `make check` compares.
surface: $(VENV)/.demo
	@$(PY) -m sovgate.surface

# dist/: wheel and sdist, made twice and compared; the same bytes on every machine.
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
dist: $(VENV)/.demo
	@scripts/release $(VERSION)

# All that a release has, the image too: what the release workflow calls.
release-files: $(VENV)/.demo
	@scripts/release $(VERSION) $(ENGINE)

docs: .cache/peers/docs/.installed
	@NO_MKDOCS_2_WARNING=1 .cache/peers/docs/bin/mkdocs build --strict --site-dir build/docs

TO ?= build/release
release-tree: $(VENV)/.demo
	@$(PY) -m sovgate.surface --release-tree $(TO)

# Any engine that reads a Containerfile. With podman the same context gives the same digest.
ENGINE ?= podman
IMAGE ?= sovgate:dev
EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
STAMP = $(if $(filter podman buildah,$(notdir $(ENGINE))),--timestamp $(EPOCH))
container: $(VENV)/.demo
	@$(PY) scripts/container.py build/container $(CONTEXT_ARGS)
	$(ENGINE) build $(STAMP) $(BUILD_ARGS) --build-arg SOURCE_DATE_EPOCH=$(EPOCH) -t $(IMAGE) build/container

clean:
	rm -rf $(VENV) .cache .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
