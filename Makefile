# Everything runs in a virtual environment inside the checkout; only Python, git and make are needed.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
OLD_VENV ?= .venv-airflow-3.1
AIRFLOW ?= apache-airflow
AIRFLOW_PORT ?= 8080
EMULATOR_PORT ?= 8765
OUTPUT ?= demo-output
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help demo up test chaos bench lint format clean

help:
	@echo "make demo   render the example campaign on a real Airflow against the emulator"
	@echo "make up     the same, with the web UI left open until Ctrl-C"
	@echo "make test   run the whole suite"
	@echo "make chaos  crash, cut and clear everything, and count what was paid"
	@echo "make bench  measure what waiting, downloads and pictures cost, beside the alternatives (about an hour)"
	@echo "make lint   check style and types"
	@echo "make format put the code into shape"
	@echo "make clean  remove what the other commands made"

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) \
		--editable '.[emulator]' --group dev '$(AIRFLOW)'
	@touch $@

demo: $(STAMP)
	@$(RUN) -m demo --airflow-port $(AIRFLOW_PORT) --emulator-port $(EMULATOR_PORT) --output $(OUTPUT)

up: $(STAMP)
	@$(RUN) -m demo --stay --airflow-port $(AIRFLOW_PORT) --emulator-port $(EMULATOR_PORT) --output $(OUTPUT)

test: $(STAMP)
	$(RUN) -m pytest $(ARGS)

chaos: $(STAMP)
	@$(MAKE) --no-print-directory $(OLD_VENV)/.installed VENV=$(OLD_VENV) CONSTRAINTS=constraints-airflow-3.1.txt
	@$(RUN) -m tests.chaos --airflow-3-1 $(OLD_VENV)/bin/python $(ARGS)

BENCH_STAMP := .venv-benchmarks/.installed

$(BENCH_STAMP): pyproject.toml constraints-benchmarks.txt
	@echo "Setting up .venv-benchmarks (about two minutes)"
	@$(PYTHON) -m venv .venv-benchmarks
	@.venv-benchmarks/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@.venv-benchmarks/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-benchmarks.txt --editable . --group benchmarks '$(AIRFLOW)'
	@touch $@

bench: $(BENCH_STAMP)
	.venv-benchmarks/bin/python -m benchmarks $(ARGS)

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMP)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf .venv* demo-output dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
