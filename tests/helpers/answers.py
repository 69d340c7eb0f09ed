"""Answers for the tests of the analysis: small frames made by hand, and real answers as lm-eval sample logs.

The adapters turn per-item prediction files (the studies' record format, BBQ's UnifiedQA predictions) into
what lm-eval writes, results_*.json and samples_*.jsonl, so that the whole way from files to tables is tested.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.compare.baselines import choose_baselines
from analysis.logs import ItemStore, Logs, read_logs
from analysis.schema.items import ITEMS
from analysis.tables.runs import runs_frame

ROLES = ("stereotype", "anti_stereotype", "unknown")
AXIS = {**dict(zip(ROLES, ("toward", "against", "neutral"), strict=True)), "undetermined": "undetermined"}
SCHEME = "bbq: stereotype=toward, anti_stereotype=against, unknown=neutral, undetermined=none"
FORMATS = ("race", "arc", "qonly")


def items_frame(answers: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """An ITEMS frame from answers that name only what matters.

    Each answer names run and item, and role (one of ROLES or undetermined) or status. The rest has a default:
    ambiguous items of category Age, no seed, the options in the order of ROLES, unknown as the key, determined
    unless an answer to the item is undetermined.
    """
    answers = list(answers)
    untold = {given["item"] for given in answers if given.get("role") == "undetermined"}
    rows = []
    for given in answers:
        role = given.get("role")
        status = given.get("status", "unparsed" if role is None else "answered")
        choice = ROLES.index(role) if role in ROLES else (0 if role == "undetermined" else None)
        row: dict[str, Any] = {column.name: None if column.nullable else "-" for column in ITEMS.columns}
        row |= {"task": "bbq", "filter": "none", "category": "Age", "condition": "ambig", "doc_id": 0}
        row |= {"status": status, "role": role, "choice": choice, "correct": role == "unknown"}
        row |= {
            "axis": None if role is None else AXIS[role],
            "scheme": SCHEME,
            "option_axes": "toward | against | neutral",
        }
        row["determined"] = given["item"] not in untold
        row |= {"item_id": given["item"], **{key: value for key, value in given.items() if key != "item"}}
        rows.append(row)
    return ITEMS.conform(pd.DataFrame(rows, columns=ITEMS.names)) if rows else ITEMS.empty()


def run_table(*runs: Mapping[str, Any]) -> pd.DataFrame:
    """A frame of runs; each names run and, if it is compared with one, baseline. Default: one dense model."""
    named = {run.get("baseline") for run in runs}
    defaults = {"baseline": None, "base_model": "m", "method": "none", "sparsity": None, "bits": None}
    rows = [{**defaults, "is_baseline": run["run"] in named, **run} for run in runs]
    return pd.DataFrame(rows).astype({"sparsity": "Float64", "bits": "Float64", "baseline": "string"})


@dataclass(kw_only=True)
class LoggedRun:
    """One run to be written as lm-eval writes it."""

    pretrained: str
    task: str
    compression: dict[str, Any] | None = None
    """Evidence; None for a stock dense run."""
    lines: list[dict[str, Any]] = field(default_factory=list)

    def add(self, item: dict[str, Any], answer: dict[str, Any], *, text: str = "") -> None:
        """Append the sample line of one item; `text` is what the prompt is told apart by."""
        options = [f"option {i}" for i in range(len(item["roles"]))]
        doc = {"item": item, "context": text, "question": "", "options": options, "label": item["correct"]}
        prompt, target = f"{item['item_id']} {text}", str(item["correct"])
        line = {
            "doc_id": len(self.lines),
            "doc": doc,
            "target": target,
            "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"max_gen_toks": 5}}},
            "resps": [[draw["text"] for draw in answer["draws"] or [{"text": ""}]]],
            "filtered_resps": [""],
            "filter": "none",
            "metrics": ["srs"],
            "doc_hash": _sha(json.dumps(doc, indent=2, ensure_ascii=False)),
            "prompt_hash": _sha(prompt),
            "target_hash": _sha(target),
            "srs": None,
            "answer": answer,
        }
        self.lines.append(line)

    def write(self, folder: Path, number: int) -> None:
        """Write both files into a folder of the run's own, dated one minute after the run before."""
        home = folder / f"run-{number:02d}"
        home.mkdir(parents=True)
        date = (datetime(2026, 1, 1) + timedelta(minutes=number)).isoformat() + ".000001"
        date_id = date.replace(":", "-")
        (home / f"results_{date_id}.json").write_text(json.dumps(self._results()))
        with (home / f"samples_{self.task}_{date_id}.jsonl").open("w") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in self.lines)

    def _results(self) -> dict[str, Any]:
        config: dict[str, Any] = {"model": "hf", "model_args": f"pretrained={self.pretrained}"}
        if self.compression is not None:
            config["compression"] = self.compression
        hashes = (line[name] for line in self.lines for name in ("doc_hash", "prompt_hash", "target_hash"))
        return {
            "results": {self.task: {"alias": self.task}},
            "configs": {self.task: {"task": self.task, "output_type": "generate_until"}},
            "versions": {self.task: 1.0},
            "n-shot": {self.task: 0},
            "n-samples": {self.task: {"original": len(self.lines), "effective": len(self.lines)}},
            "config": config,
            "task_hashes": {self.task: _sha("".join(hashes))},
            "model_name": self.pretrained,
            "lm_eval_version": "0.4.13",
        }


def evidence(*, label: str, base: str, method: str, sparsity: float | None, bits: float | None) -> dict[str, Any]:
    """The compression record of a run, with a weights hash of its own."""
    return {
        "schema_version": 1,
        "label": label,
        "method": method,
        "sparsity": sparsity,
        "bits": bits,
        "base": {"pretrained": base, "revision": None},
        "weights_hash_after": _sha(f"{base} {label}"),
    }


def write_study_logs(records: Path, folder: Path) -> None:
    """Write q_answers or p_answers as logs: one run per model and level, five draws an item."""
    runs: dict[tuple[str, str], LoggedRun] = {}
    for (key, item_id), draws in _grouped(_json_lines(records)).items():
        first = draws[0]
        if key not in runs:
            runs[key] = LoggedRun(
                pretrained=f"study/{first['model']}",
                task="bbq_itemlevel_rath",
                compression=_study_evidence(first),
            )
        roles = [""] * 3
        for role in ROLES:
            index = "unknown_index" if role == "unknown" else f"{role}_target_index"
            roles[first[index]] = role
        parsed = [None if draw["parsed_answer"] is None else "ABC".index(draw["parsed_answer"]) for draw in draws]
        answer = _answer("sampled", None, None, any(choice is not None for choice in parsed))
        answer["draws"] = [
            {"seed": draw["seed"], "text": draw["raw_response"], **_choice(choice, roles)}
            for draw, choice in zip(draws, parsed, strict=True)
        ]
        item = _item(f"bbq/{item_id}", first["category"], "ambig", roles, correct=first["unknown_index"])
        runs[key].add(item, answer)
    for number, run in enumerate(runs.values()):
        run.write(folder, number)


def write_unifiedqa_logs(predictions: Path, categories: Sequence[str], targets: Path, folder: Path) -> None:
    """Write UnifiedQA's answers in three prompt formats as three runs; race is the one without compression.

    The stereotype-consistent option comes from the oracle `targets`; a category that it lacks gets
    undetermined roles.
    """
    oracle = pd.read_csv(targets).set_index(["category", "example_id"])["target_label"].to_dict()
    base = "unifiedqa-t5-11b"
    runs = {
        name: LoggedRun(
            pretrained=base,
            task="bbq_unifiedqa",
            compression=None
            if name == "race"
            else evidence(label=name, base=base, method=f"format_{name}", sparsity=None, bits=None),
        )
        for name in FORMATS
    }
    for record in (row for name in categories for row in _json_lines(predictions / f"preds_{name}.jsonl.gz")):
        options = [record[f"ans{i}"] for i in range(3)]
        unknown = next(i for i in range(3) if record["answer_info"][f"ans{i}"][1] == "unknown")
        target = oracle.get((record["category"], record["example_id"]))
        roles = [_role(i, unknown, target) for i in range(3)]
        item_id = f"bbq/{record['category']}/{record['example_id']}"
        item = _item(item_id, record["category"], record["context_condition"], roles, correct=record["label"])
        meta, info = record["additional_metadata"], record["answer_info"]
        item |= {
            "cluster": f"{record['category']}/{record['question_index']}",
            "stereotyped_groups": list(meta["stereotyped_groups"]),
            "groups": [[] if i == unknown else [info[f"ans{i}"][1]] for i in range(3)],
        }
        for name, run in runs.items():
            choice = match_option(record[f"{base}_pred_{name}"], options)
            fields = _choice(choice, roles)
            run.add(item, _answer("text", fields["choice"], fields["role"], choice is not None), text="ctx")
    for number, run in enumerate(runs.values()):
        run.write(folder, number)


def match_option(text: str, options: Sequence[str]) -> int | None:
    """Index of the option that a prediction names, by the rule of the data's README; None without one."""
    found = [i for i, option in enumerate(options) if _plain(option) == _plain(text)]
    return found[0] if len(found) == 1 else None


def read_tables(folder: Path, store: Path) -> tuple[pd.DataFrame, pd.DataFrame, Logs]:
    """The logs of a folder as the analysis reads them: items of all runs, runs, and the logs."""
    with ItemStore(store) as opened:
        logs = read_logs(folder, opened)
        items = pd.concat(
            [opened.read(label, task) for label, run in logs.runs.items() for task in run.tasks],
            ignore_index=True,
        )
    return items, runs_frame(logs, choose_baselines(logs.runs)), logs


def _study_evidence(record: Mapping[str, Any]) -> dict[str, Any] | None:
    base = f"study/{record['model']}"
    if "quant" in record:
        bits = record["quant"]
        dense = bits == 16
        found = {"label": f"q{bits}", "method": "mlx_affine", "sparsity": None, "bits": bits}
    else:
        method, percent = record["prune_method"], record["sparsity"]
        dense = method == "dense"
        found = {"label": f"{method}-{percent}", "method": method, "sparsity": percent / 100, "bits": None}
    return None if dense else evidence(base=base, **found)


def _grouped(records: Iterable[dict[str, Any]]) -> dict[tuple[tuple[str, str], str], list[dict[str, Any]]]:
    out: dict[tuple[tuple[str, str], str], list[dict[str, Any]]] = {}
    for record in records:
        level = str(record.get("quant", f"{record.get('prune_method')}-{record.get('sparsity')}"))
        out.setdefault(((record["model"], level), record["item_id"]), []).append(record)
    return out


def _item(item_id: str, category: str, condition: str, roles: list[str], *, correct: int) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "benchmark": "bbq",
        "category": category,
        "condition": condition,
        "polarity": None,
        "cluster": item_id,
        "roles": roles,
        "groups": [[], [], []],
        "correct": correct,
        "subcategory": "None",
        "stereotyped_groups": [],
    }


def _answer(protocol: str, choice: int | None, role: str | None, answered: bool) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "status": "answered" if answered else "unparsed",
        "choice": choice,
        "role": role,
        **dict.fromkeys(("probs", "letter_mass", "entropy", "margin", "draws")),
    }


def _choice(choice: int | None, roles: Sequence[str]) -> dict[str, Any]:
    if choice is None:
        return {"status": "unparsed", "choice": None, "role": None}
    return {"status": "answered", "choice": choice, "role": roles[choice]}


def _role(option: int, unknown: int, target: int | None) -> str:
    if option == unknown:
        return "unknown"
    if target is None or target < 0:
        return "undetermined"
    return "stereotype" if option == target else "anti_stereotype"


def _plain(text: str) -> str:
    out = text.lower().strip().removesuffix(".").replace("}", "").replace("o'brien", "obrien").strip()
    return f"{out}it" if out.endswith("pantsu") else out


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
