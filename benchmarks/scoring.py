"""Scoring by prefix trees beside lm_eval's own path, on the same requests in the same process.

    python benchmarks/scoring.py [--items 192] [--repeats 3] [--part letters|texts|twelve|sampled|memory] [--json FILE]
    python benchmarks/scoring.py --plot FILE.json PICTURE.svg

Real BBQ items (Age, both conditions) from the test data's folder, the demonstration model in float32, two threads,
the model's chat template. Ours takes batch_size=auto; lm_eval's path is first tried at each of several batch sizes on a
part of the items, and with the best of them takes turns with ours. Shares of the machine's rate are those of the
decoder's matrix products (2 x weights a token) over distinct tokens, and with the output layer at the scored places,
against products of the same shapes timed alone; beside them the share that a plain batched forward pass without padding
reaches.

The sampled part draws five answers of at most five tokens an item at temperature 0.3, and compares items a second with
transformers' `generate` one sequence at a time, and sixteen items with all their seeds in a batch, each on fewer items.
The memory part runs each path in a process of its own: resident memory at its peak, above the loaded model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from _machine import write_json

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
BATCHES = (4, 8, 16)


def requests(lm: Any, part: str, count: int) -> list[Any]:
    """Tokenised requests of the first `count` items, by the numbers that BBQ gives them."""
    from lm_eval.tasks import TaskManager

    name = PARTS[part][0]
    metadata = {"bbq_dir": str(DATA), "tokenizer": lm.tokenizer}
    manager = TaskManager(include_defaults=False, metadata=metadata)
    task = manager.load([name])["tasks"][name]
    chat = {"apply_chat_template": True, "chat_template": lm.apply_chat_template, "tokenizer_name": ""}
    numbers = [int(item["item_id"].rpartition("/")[2]) for item in task.eval_docs["item"]]
    first = sorted(range(len(numbers)), key=numbers.__getitem__)[:count]
    task.build_all_requests(samples=first, rank=0, world_size=1, **chat)
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


def rate_of(run: Any, operations: float) -> float:
    """Operations a second, best of three."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        run()
        best = max(best, operations / (time.perf_counter() - start))
    return best


def rates(model: Any, tokens: int) -> dict[str, float]:
    """Operations a second of the decoder's matrix products: alone, and inside a plain forward pass."""
    import torch

    weights = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    operations = 2.0 * tokens * sum(w.numel() for w in weights)
    inputs = {cols: torch.randn(tokens, cols) for cols in {w.shape[1] for w in weights}}
    ids = torch.randint(1000, 2000, (tokens // 128, 128))

    def alone() -> None:
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    with torch.no_grad():
        return {
            "alone": rate_of(alone, operations),
            "plain": rate_of(lambda: model(ids, logits_to_keep=1, use_cache=False), operations),
        }


def measure(lm: Any, part: str, items: int, repeats: int) -> dict[str, Any]:
    """Time one part; ratios are made pair by pair, with lm_eval's best batch size."""
    from lm_eval.models.huggingface import HFLM

    from lm_eval_ext.models.scoring.checked import to_query
    from lm_eval_ext.models.scoring.trie import build_forest

    wanted = requests(lm, part, items)
    queries = [to_query(request, lm.max_length) for request in wanted]
    distinct = len(build_forest([query.inputs for query in queries]).tokens)
    scored = len({query.inputs[: len(query.inputs) - k] for query in queries for k in range(len(query.targets))})

    def stock(batch: int, some: list[Any]) -> tuple[float, list[Any]]:
        lm.batch_size_per_gpu = batch
        start = time.perf_counter()
        found = HFLM._loglikelihood_tokens(lm, some, disable_tqdm=True)
        seconds = time.perf_counter() - start
        lm.batch_size_per_gpu = "auto"
        return seconds, found

    # The comparison with the model's own pass, once a process, is no part of a timing.
    longest = max(wanted, key=lambda request: len(request[1]) + len(request[2]))
    assert lm._trees.answers([*wanted[:60], longest], lambda count: None) is not None
    fewer = wanted[: len(wanted) // 4]
    best = min(BATCHES, key=lambda batch: stock(batch, fewer)[0])
    ours, theirs, shares = [], [], []
    inside = sum(p.numel() for name, p in lm.model.named_parameters() if p.ndim == 2 and "layers" in name)
    head = lm.model.get_output_embeddings().weight.numel()
    for _ in range(repeats):
        start = time.perf_counter()
        found = lm._trees.answers(wanted, lambda count: None)
        ours.append(time.perf_counter() - start)
        peak = rates(lm.model, 2048)
        decoder = 2 * inside * distinct / ours[-1]
        shares.append([decoder, decoder + 2 * head * scored / ours[-1], peak["plain"]])
        shares[-1] = [share / peak["alone"] for share in shares[-1]]
        seconds, expected = stock(best, wanted)
        theirs.append(seconds)
    ratios = [t / o for t, o in zip(theirs, ours, strict=True)]
    return {
        "part": PARTS[part][1],
        "items": items,
        "requests": len(wanted),
        "distinct tokens": distinct,
        "naive tokens": sum(map(len, {query.inputs for query in queries})),
        "scored places": scored,
        "ours, s": ours,
        "lm_eval, s": theirs,
        "lm_eval's best batch": best,
        "times as fast": ratios,
        "share, decoder over distinct tokens": [share[0] for share in shares],
        "share, with the output layer": [share[1] for share in shares],
        "share of a plain forward pass": [share[2] for share in shares],
        "largest difference": max(abs(a[0] - b[0]) for a, b in zip(found, expected, strict=True)),
        "greedy flags that differ": sum(a[1] != b[1] for a, b in zip(found, expected, strict=True)),
    }


def peak_memory(part: str, path: str) -> dict[str, float]:
    """Run one path in this process; resident megabytes with the model loaded, and at the peak."""
    from lm_eval.models.huggingface import HFLM

    lm = load()
    wanted = requests(lm, part, 48)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if path == "ours":
        lm._trees.answers(wanted, lambda count: None)
    else:
        lm.batch_size_per_gpu = 8
        HFLM._loglikelihood_tokens(lm, wanted, disable_tqdm=True)
    return {"loaded": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def memory() -> dict[str, Any]:
    """Peak above the loaded model in MB, per part and path."""
    found: dict[str, Any] = {}
    for part in PARTS:
        for path in ("ours", "lm_eval"):
            command = [sys.executable, __file__, "--one", part, path]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            numbers = json.loads(done.stdout.splitlines()[-1])
            found.setdefault(part, {})[path] = numbers["peak"] - numbers["loaded"]
    return found


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
    return {
        "items": len(contexts),
        "ours, items/s": ours,
        "generate one by one, items/s": single,
        "times as fast as one by one": [o / t for o, t in zip(ours, single, strict=True)],
        "generate batched, items/s": batched,
        "times as fast as batched": [o / t for o, t in zip(ours, batched, strict=True)],
    }


def shown(value: Any) -> str:
    """A cell: the median of repeats with their range."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.0f} MB" for name, number in value.items())
    if isinstance(value, list):
        return f"{median(value):.3g} ({min(value):.3g} to {max(value):.3g})"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2g}" if isinstance(value, float) else str(value)


def plot(source: Path, target: Path) -> None:
    """Draw how many times as fast each part is, with the range of the pairs and the aim."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lm-eval-ext"
    from matplotlib import pyplot

    results = json.loads(source.read_text())["results"]
    bars = [(name, results[part]["times as fast"], aim) for part, name, aim in AIMS if part in results]
    if "sampled" in results:
        bars.append(("five seeds, against\ngenerate batched", results["sampled"]["times as fast as batched"], 5))
        bars.append(("five seeds, against\ngenerate one by one", results["sampled"]["times as fast as one by one"], 15))
    figure, axes = pyplot.subplots(figsize=(8, 0.7 * len(bars) + 1.2), layout="constrained")
    for row, (_, ratios, aim) in enumerate(bars):
        middle = median(ratios)
        spread = [[middle - min(ratios)], [max(ratios) - middle]]
        axes.barh(row, middle, xerr=spread, color="#4477aa", ecolor="#222222", capsize=3, height=0.6)
        axes.plot([aim, aim], [row - 0.4, row + 0.4], color="#cc3311", label="aim" if row == 0 else None)
        axes.text(max(ratios) + 0.3, row, f"{middle:.1f}", va="center")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.invert_yaxis()
    axes.axvline(1, color="#888888", linewidth=0.8)
    axes.set_xlabel("times as fast (median of the pairs, range)")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})


AIMS = (
    ("letters", "letters, against\nlm_eval's best batch", 1.8),
    ("texts", "option texts", 4),
    ("twelve", "twelve continuations", 12),
)


def load() -> Any:
    """The demonstration model as the command line loads it."""
    import torch

    from lm_eval_ext import plugin
    from lm_eval_ext.demo import demo_model
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    torch.set_num_threads(2)
    plugin.activate()
    return CompressedHFLM(pretrained=str(demo_model()), max_length=2048, batch_size="auto", device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=[*PARTS, "sampled", "memory"], action="append")
    parser.add_argument("--json", type=Path, help="also write everything there, with the machine")
    parser.add_argument("--plot", type=Path, nargs=2, metavar=("JSON", "PICTURE"), help="only draw what was measured")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plot:
        plot(*arguments.plot)
        return
    if not DATA.is_dir():
        print("skipped: the real BBQ items are absent (LM_EVAL_EXT_DATA names the folder of the test data)")
        return
    if arguments.one:
        print(json.dumps(peak_memory(*arguments.one)))
        return
    parts = arguments.part or [*PARTS, "sampled", "memory"]
    results: dict[str, Any] = {}

    def keep(part: str, found: dict[str, Any]) -> None:
        """Show and write each part as soon as it is there: all of them take a quarter of an hour."""
        results[part] = found
        print(f"\n| {part} | |\n|---|---|")
        for key, value in found.items():
            print(f"| {key} | {shown(value)} |", flush=True)
        if arguments.json:
            write_json(arguments.json, results, "torch", "transformers", "lm_eval", "lm-eval-ext")

    if "memory" in parts:
        keep("memory", memory())
    lm = load()
    for part in PARTS:
        if part in parts:
            keep(part, measure(lm, part, arguments.items, arguments.repeats))
    if "sampled" in parts:
        keep("sampled", sampled(lm, arguments.items, arguments.repeats))


if __name__ == "__main__":
    main()
