VENV ?= .venv
PORT ?= 8888
BIN  := $(VENV)/bin
SETUP_FILES := settings.ini setup.py pyproject.toml constraints.txt scripts/setup.sh
# pytest's and JupyterLab's own words: make test TESTS=tests/test_arrows.py, make lab LABFLAGS=--no-browser
TESTS ?= tests

help:                           ## this list
	@echo "make lab     set everything up and open the course in JupyterLab"
	@echo "make test    set everything up and run every notebook and test (about 25 minutes on 2 cores)"
	@echo "make docs    build the site into _docs and check it page by page"
	@echo "make train-all  train every system by its cpu recipe (about 9 hours of one core); stop it at any time, and go on"
	@echo "make handout  two zips of the readings for a class: without solutions, and with them"
	@echo "make soak    attack the package: kills, damaged files, odd prompts and command lines (5 to 20 minutes)"
	@echo "make bench   measure speed against the peers, in one run"
	@echo "make export  after editing notebooks: write t2i_course/, README.md and the sidebar from them"
	@echo "make clean   remove what was built (not the virtual environment)"
	@echo
	@echo "VENV=$(VENV)  PYTHON=python3  PORT=$(PORT)  TESTS=$(TESTS)  SYSTEMS=  PIP_ARGS=  LABFLAGS=  SOAKFLAGS=     are read by these commands"

$(VENV)/.dev: $(SETUP_FILES)
	@sh scripts/setup.sh $(VENV) dev
	@touch $@

$(VENV)/.parity: $(VENV)/.dev
	@sh scripts/setup.sh $(VENV) parity
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@sh scripts/setup.sh $(VENV) bench
	@touch $@

lab: $(VENV)/.dev
	@$(BIN)/python -m nbformat.sign nbs/*.ipynb nbs/*/*.ipynb >/dev/null    # so that the saved sliders may run
	@echo "JupyterLab opens in your browser. To stop it: Ctrl-C twice, here."
	$(BIN)/python -m jupyterlab --port=$(PORT) --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/nbs/index.ipynb \
		--ContentsManager.pre_save_hook=nbdev.clean.clean_jupyter $(LABFLAGS)

test: $(VENV)/.parity
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -v -rs --durations=10 $(TESTS)

docs: $(VENV)/.dev
	$(BIN)/python scripts/build_docs.py _docs
	$(BIN)/python scripts/check_docs.py _docs
	@echo "The site is in _docs. To read it: $(BIN)/python -m http.server -d _docs"

train-all: $(VENV)/.dev
	$(BIN)/python scripts/train_all.py $(SYSTEMS)

soak: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python scripts/soak.py $(SOAKFLAGS)

handout: $(VENV)/.dev
	$(BIN)/python scripts/handout.py _handout

bench: $(VENV)/.bench
	$(BIN)/python scripts/bench.py
	$(BIN)/python scripts/check_lab.py

export: $(VENV)/.dev
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python scripts/sidebar.py
	$(BIN)/python scripts/readme.py
	$(BIN)/python scripts/house.py --shrink

clean:
	rm -rf _docs _handout _proc _smalldocs build dist t2i_course.egg-info

.PHONY: help lab test docs train-all soak handout bench export clean
.DEFAULT_GOAL := help
