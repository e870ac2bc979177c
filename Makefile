# make install   .venv with Prunus and everything that its tests need, once
# make demo      compile a trained model for this machine and for a Raspberry Pi 4
# make test      all tests
# make check     format, lint, types
# make bench     every table of the README

.PHONY: install demo test check bench clean
.DEFAULT_GOAL := install

PYTHON ?= python3
RUN := .venv/bin/python
INSTALLED := .venv/.installed
SYSTEM := .venv/.system

install: $(INSTALLED) $(SYSTEM)

$(INSTALLED): pyproject.toml constraints.txt scripts/install-python
	@scripts/install-python "$(PYTHON)"
	@touch $@

# Emulators, compilers and C libraries of foreign processors; their tests are skipped where they are missing.
$(SYSTEM): scripts/install-system | $(INSTALLED)
	@scripts/install-system
	@touch $@

demo: install
	@$(RUN) -m examples.demo

test: install
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 -q

check: install
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

bench: install
	$(RUN) -m benchmarks.compare --threads 1
	$(RUN) -m benchmarks.compare --threads 2
	$(RUN) -m benchmarks.size
	$(RUN) -m benchmarks.compile_time
	$(RUN) -m benchmarks.accuracy
	$(RUN) -m benchmarks.quantization
	$(RUN) -m benchmarks.learned_steps
	$(RUN) -m benchmarks.quantized_speed
	$(RUN) -m benchmarks.quantized_speed --target x86-64-v3
	$(RUN) -m benchmarks.quantized_cycles
	$(RUN) -m benchmarks.pruning accuracy
	$(RUN) -m benchmarks.pruning latency
	$(RUN) -m benchmarks.pruning planning
	$(RUN) -m benchmarks.chain
	$(RUN) -m benchmarks.low_rank accuracy
	$(RUN) -m benchmarks.tuning

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
