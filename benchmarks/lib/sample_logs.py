"""Sample logs as lm_eval writes them for the sampled BBQ task: any number of runs, items and seeds.

    python benchmarks/lib/sample_logs.py FOLDER [--runs 4] [--items 1000] [--seeds 5]

Items, prompts, answers and metrics are made by the task's own code, of BBQ's items where the test data's folder has
them and of the demonstration items elsewhere; the texts are drawn at random. Items beyond those that there are repeat
them under other identities.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm_eval_ext.protocols.answers import sampled_answer
from lm_eval_ext.protocols.metrics import sampled_metrics
from lm_eval_ext.tasks.bbq_itemlevel.utils import load_items
from lm_eval_ext.tasks.functions import lettered_prompt

DATA = Path(os.environ.get("LM_EVAL_EXT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "bbq"
TASK = "bbq_itemlevel_sampled"
SEEDS = (42, 123, 456, 789, 1024, 2048, 4096, 8192, 16384, 32768)
CATEGORIES = ("Age", "Gender_identity", "Race_ethnicity", "Religion", "SES")
TEMPERATURE = 0.3
# What lm_eval logs of a sample: the metrics that the task aggregates.
_TASKS = Path(__file__).resolve().parents[2] / "lm_eval_ext" / "tasks" / "bbq_itemlevel"
_LOGGED = re.findall(r"metric: (\w+)", (_TASKS / "_sampled_yaml").read_text(encoding="utf-8"))
_CHAT = (
    "<|im_start|>system\nAnswer the multiple-choice question below. Reply with one letter, A, B or C, and with nothing "
    "else.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


def documents(count: int) -> list[dict[str, Any]]:
    """As many documents, spread over the studies' categories: ambiguous items, of which BBQ has 12,148."""
    if DATA.is_dir():
        known = list(load_items(list(CATEGORIES), "ambig", bbq_dir=str(DATA))["test"])
    else:
        known = list(load_items(task_source="demo")["test"])
    random.Random(0).shuffle(known)
    out = []
    for number in range(count):
        doc = known[number % len(known)]
        again = number // len(known)
        item = doc["item"] | ({"item_id": f"{doc['item']['item_id']}-{again}"} if again else {})
        out.append(doc | {"item": item})
    return out


def lines(docs: list[dict[str, Any]], seeds: int, run: int) -> Iterator[dict[str, Any]]:
    """The sample lines of one run: dense is run 0, the others answer differently here and there."""
    for number, doc in enumerate(docs):
        rng = random.Random(f"{number} {run if number % 4 == 0 else 0}")
        prompt = _CHAT.format(lettered_prompt(doc))
        weights = [rng.random() for _ in "ABC"]
        plain = [math.log(0.97 * weight / sum(weights)) for weight in weights]
        sharp = [weight ** (1 / TEMPERATURE) for weight in weights]
        drawn = [math.log((0.9 + rng.random() / 10) * weight / sum(sharp)) for weight in sharp]
        texts = [
            rng.choice(("{}", "{})", "{}) The", "The answer is", "{}.")).format(rng.choice("ABC")) for _ in range(seeds)
        ]
        options = {"do_sample": True, "temperature": TEMPERATURE, "max_gen_toks": 5, "until": []}
        options |= {"seeds": list(SEEDS[:seeds]), "stop_when": "abc"}
        requests = [options, options | {"first_token": ["A", "B", "C"]}]
        answer = sampled_answer(texts, SEEDS[:seeds], plain, drawn, doc["item"]["roles"])
        computed = sampled_metrics(doc["item"], answer)
        metrics = {name: computed[name] for name in _LOGGED}
        responses = [texts, [json.dumps({"plain": plain, "drawn": drawn})]]
        yield {
            "doc_id": number,
            "doc": doc,
            "target": str(doc["key"]),
            "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": given} for i, given in enumerate(requests)},
            "resps": responses,
            "filtered_resps": responses,
            "filter": "none",
            "metrics": list(metrics),
            "doc_hash": _sha(json.dumps(doc, indent=2, ensure_ascii=False)),
            "prompt_hash": _sha(prompt),
            "target_hash": _sha(str(doc["key"])),
            **metrics,
        }


def write_logs(folder: Path, *, runs: int, items: int, seeds: int) -> int:
    """Write a results file and a samples file per run; returns the bytes of the samples files."""
    docs = documents(items)
    size = 0
    for run in range(runs):
        home = folder / f"run-{run:02d}"
        home.mkdir(parents=True)
        date = f"2026-01-01T00-{run:02d}-00.000001"
        samples = home / f"samples_{TASK}_{date}.jsonl"
        chain = hashlib.sha256()
        with samples.open("w", encoding="utf-8") as stream:
            for line in lines(docs, seeds, run):
                chain.update(f"{line['doc_hash']}{line['prompt_hash']}{line['target_hash']}".encode())
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        results = _results(run, items, chain.hexdigest())
        (home / f"results_{date}.json").write_text(json.dumps(results), encoding="utf-8")
        size += samples.stat().st_size
    return size


def _results(run: int, items: int, chain: str) -> dict[str, Any]:
    evidence = {
        "schema_version": 1,
        "label": f"made-{run:02d}",
        "method": "random",
        "sparsity": run / 100,
        "base": {"pretrained": "org/model", "revision": None},
        "weights_hash_after": _sha(str(run)),
    }
    return {
        "results": {TASK: {"alias": TASK}},
        "configs": {TASK: {"task": TASK, "output_type": "generate_until"}},
        "versions": {TASK: 1.0},
        "n-shot": {TASK: 0},
        "n-samples": {TASK: {"original": items, "effective": items}},
        "task_hashes": {TASK: chain},
        "config": {"model": "compressed_hf", "model_args": "pretrained=org/model"}
        | ({"compression": evidence} if run else {}),
        "model_name": "org/model",
        "lm_eval_version": "0.4.13",
    }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    size = write_logs(given.folder, runs=given.runs, items=given.items, seeds=given.seeds)
    print(f"{given.runs * given.items:,} lines, {size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
