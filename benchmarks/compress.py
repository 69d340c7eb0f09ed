"""Time and memory of Wanda on load, beside llm-compressor on the same tokens.

    python benchmarks/compress.py [--pairs 3] [--samples 16] [--seqlen 512] [--threads 2]

Each run is a process of its own, ours and theirs in turn; ratios are made pair by pair. The model is the
demonstration model in float32. Beside a busy neighbour the seconds of the processor tell more than those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from statistics import median

SPARSITY = 0.5


def load(threads: int):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lm_eval_ext.demo import demo_model

    torch.set_num_threads(threads)
    folder = demo_model()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def tokens(tokenizer, samples: int, seqlen: int):
    from lm_eval_ext.models.recipe.calibration import load_calibration
    from lm_eval_ext.models.recipe.recipe import Calibration

    return load_calibration(Calibration(source="demo", samples=samples, seqlen=seqlen), tokenizer, None)[0]


class Peak:
    """Highest resident memory while the body runs, sampled every two milliseconds."""

    def __enter__(self) -> Peak:
        import psutil

        self._process, self._running, self.highest = psutil.Process(), True, 0
        self.before = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._running:
            self.highest = max(self.highest, self._process.memory_info().rss)
            time.sleep(0.002)

    def __exit__(self, *unused: object) -> None:
        self._running = False
        self._thread.join()


def worker(which: str, samples: int, seqlen: int, threads: int) -> None:
    model, tokenizer = load(threads)
    ids = tokens(tokenizer, samples, seqlen)
    if which == "theirs":
        from datasets import Dataset
        from llmcompressor import oneshot
        from llmcompressor.modifiers.pruning import WandaPruningModifier

        rows = [{"input_ids": row[0].tolist(), "attention_mask": [1] * seqlen} for row in ids]
        data = Dataset.from_list(rows)
    model(input_ids=ids[0])  # so that what a forward pass itself takes is in the floor
    start, used = time.perf_counter(), time.process_time()
    with Peak() as memory:
        if which == "ours":
            from lm_eval_ext.models.native.driver import compress_
            from lm_eval_ext.models.recipe.resolve import resolve

            recipe = resolve(method="wanda", sparsity=SPARSITY, calibration="demo", samples=samples, seqlen=seqlen)
            compress_(model, tokenizer, recipe)
        else:
            modifier = WandaPruningModifier(sparsity=SPARSITY, mask_structure="0:0", ignore=["re:.*lm_head"])
            oneshot(
                model=model,
                dataset=data,
                recipe=modifier,
                max_seq_length=seqlen,
                num_calibration_samples=samples,
                shuffle_calibration_samples=False,
            )
    seconds, used = time.perf_counter() - start, time.process_time() - used
    weights = [p for n, p in model.named_parameters() if "layers" in n and p.ndim == 2]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    result = {"seconds": seconds, "cpu_seconds": used, "extra_bytes": memory.highest - memory.before, "zeros": zeros}
    print("RESULT " + json.dumps(result))


def run(which: str, arguments: argparse.Namespace) -> dict[str, float]:
    line = [sys.executable, __file__, "--worker", which, "--samples", str(arguments.samples)]
    line += ["--seqlen", str(arguments.seqlen), "--threads", str(arguments.threads)]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=False)
    results = [text for text in done.stdout.splitlines() if text.startswith("RESULT ")]
    if not results:
        raise SystemExit(f"{which} failed:\n{done.stderr[-2000:]}")
    value: dict[str, float] = json.loads(results[-1].removeprefix("RESULT "))
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seqlen", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=("ours", "theirs"))
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.samples, arguments.seqlen, arguments.threads)
        return
    pairs = [(run("ours", arguments), run("theirs", arguments)) for _ in range(arguments.pairs)]
    print(f"wanda-50, {arguments.samples} samples of {arguments.seqlen} tokens, {arguments.pairs} pairs")
    print("which          seconds   peak above the loaded model (MB)   zeros")
    for name, position in (("ours", 0), ("llm-compressor", 1)):
        side = [pair[position] for pair in pairs]
        seconds, extra = median(s["seconds"] for s in side), median(s["extra_bytes"] for s in side)
        print(f"{name:<14} {seconds:>7.1f}   {extra / 1e6:>32.0f}   {side[0]['zeros']:.4f}")
    for key in ("seconds", "cpu_seconds", "extra_bytes"):
        ratios = sorted(ours[key] / max(theirs[key], 1) for ours, theirs in pairs)
        print(f"ratio ours / theirs, {key}: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
