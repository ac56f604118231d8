# make run: see a picture; make test: all tests; make check: style and types; make fuzz: look for inputs that break it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --retries 2 --timeout 30
TEST_SECONDS ?= 900
FUZZ_SECONDS ?= 600
FUZZ_JOBS ?= 2
FUZZ_TARGETS ?=

.PHONY: run test check fuzz format clean

run: $(VENV)/.run
	$(BIN)/twistd -n livestream --demo

# The tests of whole systems wait most of the time, for media is played as it comes: all others run meanwhile.
test: $(VENV)/.test
	status=0; run='timeout --kill-after=10 $(TEST_SECONDS) $(BIN)/python -m pytest'; \
	nice -n 10 $$run --ignore=tests/system >$(VENV)/parts.log 2>&1 & parts=$$!; \
	$$run tests/system || status=1; \
	wait $$parts || status=1; cat $(VENV)/parts.log; exit $$status

check: $(VENV)/.test
	status=0; for tool in 'ruff check .' 'ruff format --check .' mypy; do \
	    echo "$$tool"; $(BIN)/$$tool || status=1; \
	done; exit $$status

# FUZZ_SECONDS for each target (all, or FUZZ_TARGETS); fails at a finding, and says where the input was kept.
fuzz: $(VENV)/.test
	$(PIP) --editable '.[fuzz]'
	nice -n 19 $(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs $(FUZZ_JOBS) $(FUZZ_TARGETS)

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .fuzz build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The daemon itself, installed afresh whenever its source is newer.
SOURCES := $(shell find livestream twisted -type f -not -name '*.pyc' 2>/dev/null)

$(VENV)/.run: $(BIN)/python setup.cfg pyproject.toml $(SOURCES)
	$(PIP) .
	touch $@

# An editable installation, so that the tests see the working tree.
$(VENV)/.test: $(BIN)/python setup.cfg pyproject.toml
	$(PIP) --editable '.[test]'
	rm -f $(VENV)/.run
	touch $@
