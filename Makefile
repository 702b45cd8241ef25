PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test lint clean

# One strip and one ambiguous picture from the embedded models, with their scores. No GPU and no Hub needed.
demo: $(VENV)/.installed
	$(RUN) main.py --app wide_image --model tiny --tag demo_wide
	$(RUN) main.py --app ambiguous_image --model tiny --tag demo_ambiguous
	$(RUN) eval.py --fdir1 results/demo_wide --app wide_images
	$(RUN) eval.py --fdir1 results/demo_ambiguous --app ambiguous_images
	@echo
	@echo "Look at the pictures:"
	@ls results/demo_wide/*twilight.png results/demo_ambiguous/*-*.png

test: $(VENV)/.installed-dev
	$(RUN) -m pytest

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

clean:
	rm -rf $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	touch $@
