# make reproduce            ghugre_sequential, from a bare machine to the verdict
# make reproduce ROW=<id>   any row; SEED=2 for another seed, FLAGS="-c cpu" for an overlay
# make sweep STUDY=<folder in reproductions/> ROW=<id>   a report's study, one run for each of its values
# make test                 ruff, mypy, hadolint and pytest
# make faults               all kills, mutated configurations, damaged records, hostile archives and checkpoints (make test: a sample)
# make test-cluster         the tests on Slurm, Open MPI, DeepSpeed and network namespaces; installs them (Debian, root)
# make data                 both datasets, as far as they can be reached
# make results             brings the README's table and docs/durations.md up to date with results/
# make audit-study         how often `audit` is wrong: the tables of docs/audit.md (minutes)
# make docs                brings docs/reports.md up to date with the rows' files, docs/scaling.md and docs/campaign.md with measurements
# make captures             pictures of the page of `report` in docs/captures (needs Chromium)
# make clean                removes .venv (runs and datasets stay)
# make help                 prints these lines

PYTHON ?= python3
ROW ?= ghugre_sequential
SEED ?= 1
FLAGS ?=
CIFAR100 ?= ../shared/data/cifar-100-python

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --no-compile -c constraints.txt
# Once, on all cores (pip would take one): where PYTHONDONTWRITEBYTECODE is set, as in most images, every start would
# compile all that it imports. What is compiled already is passed over. torch ships a file in the syntax of a newer
# Python; what cannot be compiled stays as it is, and is no reason to fail.
COMPILE := $(PY) -W ignore -m compileall -qq -j 0 $(VENV)/lib cifar_hpc || :
RUN := runs/$(ROW)/$(if $(findstring smoke,$(FLAGS)),smoke/)seed$(SEED)
YAML := reproductions/$(ROW).yaml

.PHONY: reproduce sweep install test faults test-cluster data results docs captures audit-study clean help
.DELETE_ON_ERROR:

reproduce: $(RUN)/predictions.npz
	@test -n "$(FLAGS)" || grep -q '"tier": "full"' $(RUN)/result.json || \
	{ echo "$(RUN) holds another run, not the whole row; move it away, or name a folder with RUN=DIR." >&2; exit 2; }
	@status=0; $(PY) -m cifar_hpc verify $(RUN) || status=$$?; \
	case $$status in 0|1|3) ;; *) exit $$status;; esac
	@echo "Look at the run: $(VENV)/bin/tensorboard --logdir $(RUN)"

# The file appears when a run is complete; an interrupted one is resumed.
$(RUN)/predictions.npz: | $(VENV)/installed
	@test -f $(YAML) || { echo "There is no row $(ROW); '$(PY) -m cifar_hpc rows' lists them." >&2; exit 2; }
	@$(PY) -m cifar_hpc data fetch --dataset $$(sed -n 's/^  dataset: *//p' $(YAML))
	@$(PY) -m cifar_hpc fit -c $(YAML) $(FLAGS) --seed_everything $(SEED) --run_dir $(RUN) --resume

# Runs that are complete stay, so an interrupted sweep goes on where it was.
sweep: $(VENV)/installed
	@test -f $(YAML) || { echo "There is no row $(ROW); '$(PY) -m cifar_hpc rows' lists them." >&2; exit 2; }
	@test -n "$(STUDY)" -a -d "reproductions/$(STUDY)" || \
	{ echo "Name a study with STUDY=ashraf_batch_size or STUDY=ashraf_learning_rate." >&2; exit 2; }
	@$(PY) -m cifar_hpc data fetch --dataset $$(sed -n 's/^  dataset: *//p' $(YAML))
	@for value in reproductions/$(STUDY)/*.yaml; do \
	run=runs/$(STUDY)/$(ROW)/$$(basename $$value .yaml)/seed$(SEED); \
	test -f $$run/predictions.npz || \
	$(PY) -m cifar_hpc fit -c $(YAML) -c $$value $(FLAGS) --seed_everything $(SEED) --run_dir $$run --resume || exit $$?; \
	done

install: $(VENV)/installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null || \
	{ echo "Python 3.11.4 or later is needed; name one with 'make PYTHON=python3.12'." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	{ rm -rf $(VENV); echo "Python's venv module is missing; on Debian it is in the package python3-venv." >&2; exit 2; }

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) (torch is large; about two minutes)"
	@$(PIP) -e . || { echo "The packages could not be installed; pip says why above." >&2; exit 2; }
	@$(COMPILE)
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@$(PIP) -e '.[test]' || { echo "The test packages could not be installed; pip says why above." >&2; exit 2; }
	@$(COMPILE)
	@touch $@

test: $(VENV)/installed-test
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile .devcontainer/Dockerfile
	$(VENV)/bin/pytest --numprocesses logical --maxprocesses 4 --dist worksteal

faults: $(VENV)/installed-test
	FAULTS=all $(VENV)/bin/pytest tests/faults tests/records/test_checkpoints.py --numprocesses logical --maxprocesses 4 --dist worksteal

test-cluster: $(VENV)/installed-cluster
	$(VENV)/bin/pytest -m cluster tests/hpc

# DeepSpeed compiles nothing for what is tested; mpi4py is built against the installed Open MPI.
$(VENV)/installed-cluster: $(VENV)/installed-test
	@apt-get install --yes --no-install-recommends slurm-wlm munge openmpi-bin libopenmpi-dev gcc libc6-dev iproute2 || \
	{ echo "Slurm and Open MPI could not be installed; apt-get says why above (it needs Debian and root)." >&2; exit 2; }
	@DS_BUILD_OPS=0 $(PIP) -e '.[test,deepspeed,mpi]' || \
	{ echo "DeepSpeed or mpi4py could not be installed; pip says why above." >&2; exit 2; }
	@$(COMPILE)
	@touch $@

data: $(VENV)/installed
	$(PY) -m cifar_hpc data fetch --dataset cifar10
	@if [ -d $(CIFAR100) ]; \
	then $(PY) -m cifar_hpc data import --dataset cifar100 $(CIFAR100); \
	else $(PY) -m cifar_hpc data fetch --dataset cifar100; fi

results: $(VENV)/installed
	@$(PY) -m cifar_hpc rows --readme README.md --durations docs/durations.md > /dev/null

docs: $(VENV)/installed
	@$(PY) docs/scripts/defaults.py
	@$(PY) -m cifar_hpc rows --origins docs/reports.md > /dev/null
	@$(PY) docs/scripts/scaling_tables.py
	@$(PY) docs/scripts/replays.py
	@$(PY) docs/scripts/bench_table.py
	@$(PY) docs/scripts/price_table.py
	@$(PY) docs/scripts/curves.py
	@$(PY) docs/scripts/identified.py
	@$(PY) docs/scripts/verdict_errors.py

captures: $(VENV)/installed
	@$(PY) docs/scripts/page_captures.py

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

audit-study: $(VENV)/installed
	@$(PY) docs/scripts/audit_study.py

clean:
	rm -rf $(VENV)
