"""Results that lm_eval 0.4.13 wrote for its hf, vllm (0.32, on a CPU) and local-completions, names and paths apart.

Where its API's packages are installed, lm_eval's own command asks a small server of completions once more.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest

from analysis.logs.find import find_runs
from analysis.logs.results import read_results
from analysis.logs.runlog import RunLog

REAL = Path(__file__).parent / "real"


def read(folder: Path) -> RunLog:
    (files,), _ = find_runs(folder)
    run, _ = read_results(files, folder)
    assert run is not None
    return run


@pytest.mark.parametrize(
    ("name", "engine", "version", "dtype", "cache", "status", "label"),
    [
        ("hf", "transformers", "5.17.0", "float32", None, "as named", "dense"),
        ("vllm", "vllm", None, "float32", "fp8_e5m2", "unverified", "m-AWQ(unverified awq kv-fp8_e5m2)"),
        ("local-completions", "completions server", None, None, None, "unverified", "tiny-AWQ(unverified awq)"),
    ],
)
def test_what_lm_eval_wrote(
    name: str,
    engine: str,
    version: str | None,
    dtype: str | None,
    cache: str | None,
    status: str,
    label: str,
    tmp_path: Path,
) -> None:
    shutil.copy(REAL / f"{name}.json", tmp_path / "results_2026-11-27T22-00-00.000000.json")
    run = read(tmp_path)
    assert (run.engine.runtime, run.engine.version, run.dtype, run.engine.kv_cache) == (engine, version, dtype, cache)
    assert (run.standing.status, run.label) == (status, label)


class Completions(BaseHTTPRequestHandler):
    """Answers every prompt with log-probabilities of its own tokens, made up from their numbers."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        choices = []
        for place, tokens in enumerate(asked):
            scores = [None, *(-1.0 - token % 7 / 10 for token in tokens[1:])]
            top = [None, *({str(token): 0.0} for token in tokens[1:])]
            told = {"tokens": [str(token) for token in tokens], "token_logprobs": scores, "top_logprobs": top}
            choices.append({"index": place, "text": "", "logprobs": told})
        body = json.dumps({"choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Completions)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/completions"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tenacity") is None, reason="lm_eval[api] is not installed")
def test_a_run_against_a_server(address: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "1?", "choices": ["1", "2"], "answer": 0}\n' * 3)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tiny.yaml").write_text(
        f"task: tiny\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_target: answer\n"
        "doc_to_choice: choices\nmetric_list: [{metric: acc}]\n"
    )
    arguments = f"model=org/m-GPTQ-Int4,tokenizer={tiny_checkpoint},base_url={address},max_length=256"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args", arguments]
    command += ["--tasks", "tiny", "--include_path", str(tmp_path / "tasks"), "--log_samples"]
    subprocess.run([*command, "--output_path", str(tmp_path / "runs")], check=True, capture_output=True)
    run = read(tmp_path / "runs")
    assert (run.engine.runtime, run.label) == ("completions server", "m-GPTQ-Int4(unverified gptq int4)")
    assert run.tasks["tiny"].samples is not None
