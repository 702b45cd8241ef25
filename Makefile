PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
PIP = $(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt

# A recipe line that expands this ends make with one sentence where Python is missing or too old.
FOUND = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
RECENT = $(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null)
REMEDY = install Python 3.11 or newer and name it, as in: make demo PYTHON=python3.12
check_python = $(if $(FOUND),,$(error $(PYTHON) is no Python that runs: $(REMEDY)))$(if $(filter True,$(RECENT)),,$(error $(PYTHON) is Python $(FOUND), which is too old: $(REMEDY)))

.PHONY: demo page test lint clean

# One strip and one ambiguous picture from the embedded models, with their scores. No GPU and no Hub needed.
demo: $(VENV)/.installed
	$(RUN) main.py --app wide_image --model tiny --tag demo_wide
	$(RUN) main.py --app ambiguous_image --model tiny --tag demo_ambiguous
	$(RUN) eval.py --fdir1 results/demo_wide --app wide_images
	$(RUN) eval.py --fdir1 results/demo_ambiguous --app ambiguous_images
	@echo
	@echo "The pictures of the demo, the second one as drawn (left) and turned clockwise (right):"
	@printf '%s\n' "$(CURDIR)"/results/demo_wide/*twilight.png "$(CURDIR)"/results/demo_ambiguous/*-*.png

# The page in the browser, until Ctrl-C ends it; it says its address.
page: $(VENV)/.installed-page
	$(RUN) app.py

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(RUN)

clean:
	rm -rf $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt
	$(check_python)
	@echo "Installing PyTorch, diffusers, transformers and what they need into $(VENV): on Linux 3.1 GB to download,"
	@echo "5.8 GB on disk, about three minutes besides the download. To take it all away again: make clean"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/.installed-page: $(VENV)/.installed requirements-page.txt
	@echo "Installing gradio into $(VENV)."
	$(PIP) -r requirements-page.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt requirements-page.txt
	@echo "Installing the development tools into $(VENV): pytest, ruff, pyright with its Node.js, matplotlib, selenium,"
	@echo "a Jupyter kernel, gradio."
	$(PIP) -r requirements-dev.txt
	touch $@
