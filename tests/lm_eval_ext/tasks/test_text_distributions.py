"""Distributions that text_perplexity logs, from lm_eval to the table, against the models' own logits."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import rel_entr

from analysis import analyze
from analysis.inference.divergence import divergence
from analysis.logs.distributions import read_distributions
from lm_eval_ext.errors import UserError
from tests.helpers.runs import evaluate, strict, task_manager

TASK = "text_perplexity"
WINDOW = 16
TEXTS = [
    f"The ferry leaves at noon. Who kept the key of house {number}? It rained on trains and bread."
    for number in range(3)
]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("\n\n".join(TEXTS), encoding="utf-8")
    return path


def score(
    folder: Path, text_file: Path, output: Path, recipe: str | None = None, batch_size: int = 1, **metadata: Any
) -> Path:
    """Run the task; its samples file."""
    args: dict[str, Any] = {"max_length": WINDOW} | ({} if recipe is None else {"recipe": recipe})
    own = {"text_file": str(text_file), "text_split": "blank_lines"} | metadata
    output.mkdir()
    evaluate(folder, [TASK], model="compressed_hf", args=args, metadata=own, output=output, batch_size=batch_size)
    (path,) = output.rglob("samples_*.jsonl")
    return path


def model_of(folder: Path, recipe: str) -> Any:
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    return CompressedHFLM(pretrained=str(folder), recipe=recipe, dtype="float32", device="cpu", max_length=WINDOW)


def exact(dense: Any, other: Any, text: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """KL of each token's distribution from the model's own logits, and whether the top token is the same.

    Windows as in `rolled` of test_text_perplexity: they do not overlap, and the last is filled up with what was before.
    """
    tokens = dense.tokenizer.encode(text, add_special_tokens=False)
    seen = [dense.tokenizer.bos_token_id, *tokens]
    kl, same = [], []
    for start in range(0, len(tokens), WINDOW):
        end = min(start + WINDOW, len(tokens))
        inputs = torch.tensor([seen[max(0, end - WINDOW) : end]])
        with torch.no_grad():
            p, q = (
                torch.log_softmax(lm.model(inputs).logits[0, start - end :].double(), -1).numpy()
                for lm in (dense, other)
            )
        kl.append(rel_entr(np.exp(p), np.exp(q)).sum(axis=1))
        same.append(p.argmax(axis=1) == q.argmax(axis=1))
    return np.concatenate(kl), np.concatenate(same)


def row_of(folder: Path, **options: Any) -> dict[str, Any]:
    found = analyze(folder, folder.parent / "report", **options).tables["text_divergence"]
    (row,) = found.to_dict("records")
    return dict(row)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_with_all_entries_the_table_is_exact(llama: Path, text_file: Path, tmp_path: Path, batch_size: int) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    plain = score(llama, text_file, runs / "dense", distributions=10**8, batch_size=batch_size)
    score(llama, text_file, runs / "rtn", "rtn-3", distributions=10**8, batch_size=batch_size)
    row = row_of(runs)
    sides = [exact(model_of(llama, "dense"), model_of(llama, "rtn-3"), text) for text in TEXTS]
    kl, same = (np.concatenate([side[i] for side in sides]) for i in (0, 1))
    assert row["status"] == "ok"
    assert (row["n_tokens"], row["unit"]) == (len(kl), "window")
    assert row["n_units"] == sum(math.ceil(len(side[0]) / WINDOW) for side in sides)
    assert row["kl"] == pytest.approx(kl.mean(), rel=1e-4)
    assert row["kl_at_least"] == pytest.approx(kl.mean(), rel=1e-4)
    assert row["kl_median"] == pytest.approx(np.median(kl), rel=1e-3)
    assert row["kl_p99"] == pytest.approx(np.quantile(kl, 0.99), rel=1e-3)
    assert row["same_top_rate"] == pytest.approx(same.mean())
    assert row["kl_low"] <= row["kl"] <= row["kl_high"]
    assert row["same_top_rate_low"] <= row["same_top_rate"] <= row["same_top_rate_high"]
    assert row["kept"] == pytest.approx(300, abs=30)
    # The log's own perplexities: (log-likelihood, tokens) of each document.
    lines = [strict(line) for line in plain.read_text().splitlines()]
    other = next((runs / "rtn").rglob("samples_*.jsonl"))
    totals = [
        math.exp(-sum(line["token_perplexity"][0] for line in found) / row["n_tokens"])
        for found in (lines, [strict(line) for line in other.read_text().splitlines()])
    ]
    assert row["perplexity_ratio"] == pytest.approx(totals[1] / totals[0], rel=1e-4)


def test_a_few_entries_are_drawn_alike_and_estimate_it(llama: Path, text_file: Path, tmp_path: Path) -> None:
    few = [
        read_distributions(score(llama, text_file, tmp_path / name, name, distributions=32))
        for name in ("dense", "rtn-3")
    ]
    again = read_distributions(score(llama, text_file, tmp_path / "again", "dense", distributions=32, batch_size=4))
    estimates, exacts = [], []
    for number, text in enumerate(TEXTS):
        base, run = (side.documents[number] for side in few)
        assert len(base.ids) < 33 * len(base.counts)
        assert (base.ids == again.documents[number].ids).mean() > 0.99
        shared = np.isin(base.ids, run.ids).mean()
        assert shared > 0.8
        estimates.append(divergence(base, run).estimate)
        exacts.append(exact(model_of(llama, "dense"), model_of(llama, "rtn-3"), text)[0])
    apart = np.concatenate(estimates) - np.concatenate(exacts)
    assert abs(apart.mean()) < 4 * apart.std() / math.sqrt(len(apart))


def test_the_perplexity_is_the_same_with_and_without(llama: Path, text_file: Path, tmp_path: Path) -> None:
    files = [score(llama, text_file, tmp_path / str(k), distributions=k) for k in (0, 16)]
    without, with_them = ([strict(line) for line in file.read_text().splitlines()] for file in files)
    assert [line["token_perplexity"] for line in without] == [line["token_perplexity"] for line in with_them]
    assert all("distributions" not in line for line in without)
    assert read_distributions(files[0]).fault == "no distributions in 3 of 3 documents"


@pytest.mark.parametrize("given", ["many", -1, True, 1.5])
def test_an_odd_number_is_refused(given: object, llama: Path, text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="distributions: expected a whole number"):
        score(llama, text_file, tmp_path / "runs", distributions=given)


def test_what_is_missing_damaged_or_foreign_is_named(llama: Path, text_file: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    score(llama, text_file, runs / "dense")
    file = score(llama, text_file, runs / "rtn", "rtn-3")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    good = [dict(line["distributions"]) for line in lines]
    whole = row_of(runs)

    def changed(*records: Any) -> dict[str, Any]:
        text = "".join(
            json.dumps(line | {"distributions": record}) + "\n" for line, record in zip(lines, records, strict=True)
        )
        file.write_text(text)
        return row_of(runs)

    row = changed(None, good[1], good[2])
    assert row["status"] == "run: no distributions in 1 of 3 documents"
    assert row["n_tokens"] == whole["n_tokens"] - sum(good[0]["windows"])
    row = changed(good[1], good[1], good[2])
    assert "another document's or run's" in row["status"]
    row = changed(good[0] | {"data": good[0]["data"][:-8]}, good[1], good[2])
    assert "can't be used in 1 of 3 documents" in row["status"]
    row = changed(good[0] | {"version": 9}, good[1], good[2])
    assert "version 9" in row["status"]
    row = changed(good[0] | {"read": "0" * 64}, good[1] | {"k": 5}, good[2])
    assert row["status"] == "other tokens, windows, vocabulary or k in 2 of 3 documents"
    row = changed(None, None, None)
    assert (row["n_tokens"], row["status"]) == (0, "run: no distributions in 3 of 3 documents")
    assert pd.isna(row["kl"])
    shutil.rmtree(file.parent)


def test_an_estimate_that_rests_on_few_entries_says_so(llama: Path, text_file: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    score(llama, text_file, runs / "dense", distributions=1)
    score(llama, text_file, runs / "magnitude", "magnitude-70", distributions=1)
    row = row_of(runs)
    assert row["kl_at_least"] < 0.4 * row["kl"]
    assert "rests on few logged entries" in row["status"]


def test_the_same_weights_have_no_distance(llama: Path, text_file: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    score(llama, text_file, runs / "dense")
    score(llama, text_file, runs / "again", "dense")
    row = row_of(runs, baseline="dense#1")
    assert (row["kl"], row["same_top_rate"], row["perplexity_ratio"]) == (0, 1, 1)
    assert row["same_top_rate_low"] < 1
    assert row["status"] == "no logged probability differs"


@pytest.mark.slow
def test_the_demonstration_model_against_its_own_logits(demo_checkpoint: Path, text_file: Path) -> None:
    """At most 128 of 49,152 entries a token: an estimate within its error, from under 1 % of a base file's bytes."""
    import lm_eval

    from analysis.logs.distributions import _Record, _sketch
    from lm_eval_ext.models.hf.encoded import EncodedHFLM

    task = {"text_file": str(text_file), "text_split": "blank_lines", "pretrained": str(demo_checkpoint)}
    models, records = [], []
    for bits in (None, 8):
        model = EncodedHFLM(str(demo_checkpoint), dtype="float32", device="cpu", max_length=WINDOW)
        if bits is not None:
            _round(model.model, bits)
        results = lm_eval.simple_evaluate(model=model, tasks=[TASK], task_manager=task_manager(**task), limit=1)
        models.append(model)
        records.append(msgspec.convert(results["samples"][TASK][0]["distributions"], _Record))
    base, run = (_sketch(record, None) for record in records)
    assert len(records[0].data) < 0.01 * 2 * base.vocabulary * len(base.counts)
    estimate, (kl, same) = divergence(base, run), exact(*models, TEXTS[0])
    apart = estimate.estimate - kl
    assert abs(apart.mean()) < 4 * apart.std() / math.sqrt(len(apart))
    assert np.corrcoef(estimate.estimate, kl)[0, 1] > 0.9
    assert (estimate.at_least <= kl * 1.01 + 2e-6).all()
    assert estimate.same_top.tolist() == same.tolist()


@torch.no_grad()
def _round(model: torch.nn.Module, bits: int) -> None:
    """Round each row of the decoder's matrices to so many bits."""
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear) and "lm_head" not in name:
            step = layer.weight.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
            layer.weight.copy_((layer.weight / step).round() * step)
