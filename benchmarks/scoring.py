"""Scoring by prefix trees beside lm_eval's own path, on the same requests in the same process.

    python benchmarks/scoring.py [--items 192] [--repeats 3] [--part letters|texts|twelve|sampled]

Real BBQ items (Age, both conditions) from the test data's folder, the demonstration model in float32, two threads,
the model's chat template. Ours and lm_eval's path take turns; lm_eval's at each of several batch sizes, of which
the best counts. The share of the machine's rate is that of the decoder's matrix products over distinct tokens
(2 x weights a token) against products of the same shapes timed alone.

The sampled part draws five answers of at most five tokens an item at temperature 0.3, and compares items a second with
transformers' `generate` one sequence at a time, and sixteen items with all their seeds in a batch, each on fewer items.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LM_EVAL_EXT_DATA", ROOT.parent / "shared" / "data")) / "bbq"
PARTS = {
    "letters": ("bbq_itemlevel_age", "letters A, B, C after the same prompt"),
    "texts": ("bbq_itemlevel_text", "the three options' texts"),
    "twelve": ("bbq_itemlevel_age", "two groups and ten wordings of unknown, as lm_eval's bbq scores"),
}
UNKNOWN = [
    "Unknown",
    "Cannot be determined",
    "Can't be determined",
    "Not answerable",
    "Not known",
    "Not enough info",
    "Not enough information",
    "Cannot answer",
    "Can't answer",
    "Undetermined",
]
BATCHES = (8, 16)


def requests(lm: Any, part: str, count: int) -> list[Any]:
    """Tokenised requests of the first `count` items."""
    from lm_eval.tasks import TaskManager

    name = PARTS[part][0]
    metadata = {"bbq_dir": str(DATA), "tokenizer": lm.tokenizer}
    manager = TaskManager(include_defaults=False, metadata=metadata)
    task = manager.load([name])["tasks"][name]
    chat = {"apply_chat_template": True, "chat_template": lm.apply_chat_template, "tokenizer_name": ""}
    task.build_all_requests(limit=count, rank=0, world_size=1, **chat)
    if part != "twelve":
        pairs = [instance.args for instance in task.instances]
    else:
        docs = {instance.doc["item"]["item_id"]: instance.doc for instance in task.instances}.values()
        pairs = []
        for doc in docs:
            prompt = f"{doc['context']}\n\nQ: {doc['question']}\nA:"
            people = [o for o, role in zip(doc["options"], doc["item"]["roles"], strict=True) if role != "unknown"]
            pairs += [(prompt, f" {text}") for text in (*people, *UNKNOWN)]
    return [(pair, *lm._encode_pair(*pair)) for pair in pairs if pair[1]]


def product_rate(model: Any, tokens: int) -> float:
    """Matrix products of the decoder's shapes on `tokens` rows: multiply-adds x 2 a second, best of three."""
    import torch

    weights = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    inputs = {cols: torch.randn(tokens, cols) for cols in {w.shape[1] for w in weights}}
    best = 0.0
    with torch.no_grad():
        for _ in range(3):
            start = time.perf_counter()
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)
            best = max(best, 2 * tokens * sum(w.numel() for w in weights) / (time.perf_counter() - start))
    return best


def measure(lm: Any, part: str, items: int, repeats: int) -> dict[str, Any]:
    """Time one part; ratios are made pair by pair with the batch size that is best over all repeats."""
    from lm_eval.models.huggingface import HFLM

    from lm_eval_ext.models.scoring.checked import to_query
    from lm_eval_ext.models.scoring.trie import build_forest

    wanted = requests(lm, part, items)
    queries = [to_query(request, lm.max_length) for request in wanted]
    distinct = len(build_forest([query.inputs for query in queries]).tokens)
    naive = sum(map(len, {query.inputs for query in queries}))

    def stock(batch: int) -> Any:
        lm.batch_size_per_gpu = batch
        return HFLM._loglikelihood_tokens(lm, wanted, disable_tqdm=True)

    assert lm._trees.usable(wanted[:60], lambda some: HFLM._loglikelihood_tokens(lm, some, disable_tqdm=True))
    ours: list[float] = []
    theirs: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(repeats):
        start = time.perf_counter()
        found = lm._trees.score(wanted, lambda count: None)
        ours.append(time.perf_counter() - start)
        for batch in BATCHES:
            start = time.perf_counter()
            expected = stock(batch)
            theirs[batch].append(time.perf_counter() - start)
    best = min(BATCHES, key=lambda batch: median(theirs[batch]))
    ratios = sorted(t / o for t, o in zip(theirs[best], ours, strict=True))
    inside = sum(p.numel() for name, p in lm.model.named_parameters() if p.ndim == 2 and "layers" in name)
    return {
        "part": PARTS[part][1],
        "requests": len(wanted),
        "distinct / naive tokens": f"{distinct:,} / {naive:,}",
        "ours s": f"{median(ours):.1f}",
        "lm_eval s (batch)": f"{median(theirs[best]):.1f} ({best})",
        "ratio (spread)": f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        "share of the machine's rate": f"{2 * inside * distinct / median(ours) / product_rate(lm.model, 2048):.0%}",
        "largest difference": f"{max(abs(a[0] - b[0]) for a, b in zip(found, expected, strict=True)):.1e}",
        "greedy flags that differ": sum(a[1] != b[1] for a, b in zip(found, expected, strict=True)),
    }


SEEDS = [42, 123, 456, 789, 1024]
_ONE_BY_ONE = 8
_BATCHED = 16


def sampled(lm: Any, items: int, repeats: int) -> dict[str, Any]:
    """Items a second of the five-seed protocol, ours and by `generate`, in turn."""
    import torch
    from lm_eval.api.instance import Instance

    contexts = list(dict.fromkeys(pair[0] for pair, _, _ in requests(lm, "letters", items)))
    arguments = {
        "seeds": SEEDS,
        "temperature": 0.3,
        "do_sample": True,
        "max_gen_toks": 5,
        "until": [],
        "stop_when": "abc",
    }
    ours_requests = [Instance("generate_until", {}, (c, arguments), 0) for c in contexts for _ in SEEDS]
    tokenizer = lm.tokenizer
    tokenizer.padding_side = "left"
    options = {"do_sample": True, "temperature": 0.3, "top_k": 0, "top_p": 1.0, "max_new_tokens": 5}
    options["pad_token_id"] = tokenizer.pad_token_id or tokenizer.eos_token_id

    def generate(texts: list[str]) -> None:
        with torch.no_grad():
            lm.model.generate(**tokenizer(texts, return_tensors="pt", padding=True), **options)

    def rate(count: int, run: Any) -> float:
        start = time.perf_counter()
        run()
        return float(count / (time.perf_counter() - start))

    # The checks of the first call are left out: they cost the same for 192 items and for 12,148.
    lm.generate_until(ours_requests[: 2 * len(SEEDS)], disable_tqdm=True)
    ours, single, batched = [], [], []
    for _ in range(repeats):
        ours.append(rate(len(contexts), lambda: lm.generate_until(ours_requests, disable_tqdm=True)))
        single.append(rate(_ONE_BY_ONE, lambda: [generate([c]) for c in contexts[:_ONE_BY_ONE] for _ in SEEDS]))
        many = [c for c in contexts[:_BATCHED] for _ in SEEDS]
        batched.append(rate(_BATCHED, lambda texts=many: generate(texts)))
    lines = {"items": len(contexts), "ours items/s": f"{median(ours):.2f}"}
    for name, theirs in (("generate, one by one", single), ("generate, batched", batched)):
        ratios = sorted(o / t for o, t in zip(ours, theirs, strict=True))
        lines[f"{name}, items/s"] = f"{median(theirs):.3f}"
        lines[f"ratio to {name} (spread)"] = f"{median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=[*PARTS, "sampled"])
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print("skipped: the real BBQ items are absent (LM_EVAL_EXT_DATA names the folder of the test data)")
        return
    import torch

    from lm_eval_ext import plugin
    from lm_eval_ext.demo import demo_model
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    torch.set_num_threads(2)
    plugin.activate()
    lm = CompressedHFLM(pretrained=str(demo_model()), max_length=2048, batch_size=8, device="cpu")
    results = [
        measure(lm, part, arguments.items, arguments.repeats) for part in PARTS if arguments.part in (None, part)
    ]
    for key in results[0] if results else ():
        print("| " + " | ".join([key, *(str(result[key]) for result in results)]) + " |")
    if arguments.part in (None, "sampled"):
        for key, value in sampled(lm, arguments.items, arguments.repeats).items():
            print(f"| sampled: {key} | {value} |")


if __name__ == "__main__":
    main()
