"""Letters of 192 packaged items: `compressed_hf` beside vLLM, asked once a letter (lm_eval's) and once an item (ours).

vLLM is looked for where `make engines` puts it; without it there is nothing to compare, and that is said. Loading is
not counted. Each engine runs in a process of its own, one after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VLLM = Path(os.environ.get("LM_EVAL_EXT_ENGINES", ROOT / ".engines")) / "vllm" / "bin" / "python"
TASK, ITEMS = "bbq_itemlevel_demo", 192
WORKER = """
import json, sys, time
import lm_eval
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager
from lm_eval_ext import plugin

if __name__ == "__main__":
    name, folder, task, items = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    plugin.activate([task])
    arguments = {"pretrained": folder, "dtype": "float32"}
    more = {"batch_size": 16}
    if "vllm" in name:
        arguments |= {"max_model_len": 2048, "enforce_eager": True}
        more = {}
    model = get_model(name)(**arguments, **more)
    manager = TaskManager(include_defaults=False, metadata=arguments)
    run = lambda count: lm_eval.simple_evaluate(
        model=model, tasks=[task], limit=count, task_manager=manager, bootstrap_iters=0, log_samples=False
    )
    run(4)
    start = time.perf_counter()
    run(items)
    print("SECONDS", json.dumps(time.perf_counter() - start), flush=True)
"""


def measure(python: Path, name: str, folder: Path) -> float:
    """Seconds for the items, without loading."""
    more = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}
    script = ROOT / ".engines" / "worker.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(WORKER)
    command = [str(python), str(script), name, str(folder), TASK, str(ITEMS)]
    done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    if done.returncode or not found:
        sys.exit(f"{name} failed: {done.stderr[-1500:]}")
    return float(json.loads(found[-1].removeprefix("SECONDS ")))


def main() -> None:
    if not VLLM.exists():
        print(f"no vLLM at {VLLM}: run make engines; nothing is compared")
        return
    from lm_eval_ext.demo.model import demo_model

    folder = demo_model()
    pairs = [(Path(sys.executable), "compressed_hf"), (VLLM, "vllm_itemlevel"), (VLLM, "vllm")]
    seconds = {name: measure(python, name, folder) for python, name in pairs}
    for name, value in seconds.items():
        print(f"{name:16} {value:7.1f} s for {ITEMS} items, {value / seconds['compressed_hf']:.1f} times compressed_hf")


if __name__ == "__main__":
    main()
