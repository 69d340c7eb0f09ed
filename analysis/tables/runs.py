"""The runs of an analysis as a table: what each one is."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from ..compare.baselines import Baselines
from ..compare.variants import asked_recipe, method_names, variant_of
from ..logs import Logs, RunLog
from ..logs.engine.hints import joined
from ..schema.columns import Table, count, flag, number, text
from ..schema.declare import ReportTable
from ..schema.shared import BASE_MODEL, BASELINE, FILE, METHOD, RUN, SPARSITY
from .sources import BASELINES, LOGS

__all__ = ["RUNS", "RUNS_TABLE", "runs_frame"]


RUNS = Table(
    name="runs",
    doc="One row per run: what was evaluated, how, and what it is compared with.",
    columns=(
        RUN,
        flag("is_baseline", "Whether another run is compared with this one."),
        BASELINE.here("Several joined by '+' if they hold different tasks; missing without one.", nullable=True),
        text("model_type", "lm-eval's model type: hf, compressed_hf, vllm, local-completions ..."),
        text("engine", "What computed the answers: transformers, vllm, sglang, llama.cpp, a server, an API."),
        text("engine_version", "Its version; missing where the run does not tell it.", nullable=True),
        text(
            "status",
            "How sure it is what the weights were: dense, proved, measured, as named or unverified.",
        ),
        text("doubts", "Why it is not sure, joined by semicolons; missing without doubt.", nullable=True),
        text(
            "quantization",
            "Form of the weights as arguments, engine or files name it; missing where they name none.",
            nullable=True,
        ),
        text("kv_cache", "Form of a quantized key-value cache; missing for a plain one.", nullable=True),
        text("parallel", "How the model was spread over devices, such as tp=2; missing for one.", nullable=True),
        flag(
            "batch_invariant",
            "Whether scores are promised not to depend on the batch; missing where nothing is said.",
            nullable=True,
        ),
        count("threads", "Threads that computed; missing where the run does not tell.", nullable=True),
        BASE_MODEL,
        text(
            "base_by",
            "What says so: evidence, hash, files, card or --base; missing where it is the model itself.",
            nullable=True,
        ),
        text("base_hash", "Hash of the weights before compression; missing for models that log none.", nullable=True),
        METHOD.here(
            "'unverified' with what is suggested where nobody proved one. Runs of one method differ in sparsity, bits "
            "and seeds alone; a variant has a name of its own."
        ),
        text(
            "recipe",
            "Recipe as it was asked for: a packaged name, or a file's path. Missing where methods were given inline.",
            nullable=True,
        ),
        text(
            "variant",
            "What tells methods of one name apart, as JSON: the resolved steps, calibration and dtype, without level "
            "and seed. Missing without a recipe in the log.",
            nullable=True,
        ),
        SPARSITY,
        number(
            "bits",
            "Bits per weight that hold at the end, scales not counted: those asked for, where no later step put more "
            "values into a group. Missing without quantization.",
        ),
        number("achieved_sparsity", "Measured share of zeros in the targeted matrices, in [0, 1]."),
        number("decoder_sparsity", "The same over all matrices of the decoder blocks, those left alone among them."),
        number("bits_per_weight", "Measured bits per weight of the targeted matrices, scales included."),
        number(
            "decoder_bits_per_weight",
            "The same over all matrices of the decoder blocks; one that was not quantized has its dtype's bits.",
        ),
        text("weights_hash", "Hash of the weights that were scored; missing for models that log none.", nullable=True),
        text("calibration_source", "Where the calibration text came from.", nullable=True),
        text("calibration_hash", "Hash of the calibration token ids.", nullable=True),
        text("dtype", "Dtype of the weights.", nullable=True),
        text("softmax_dtype", "Dtype asked for scoring; 'default' is the weights'."),
        text("batch_size", "Batch size as given.", nullable=True),
        text("chat_template_sha", "Hash of the chat template; missing if none was applied.", nullable=True),
        text("system_instruction_sha", "Hash of the system instruction; missing without one.", nullable=True),
        number("limit", "lm-eval's --limit: a count, or a share below 1; missing for whole tasks."),
        text("date", "Local time of the run's end, ISO 8601."),
        text("tasks", "Task names, joined by commas."),
        text("lm_eval_version", "Version of lm-eval.", nullable=True),
        text("transformers_version", "Version of transformers.", nullable=True),
        text(
            "perplexities",
            "JSON object of 'task/metric' and value, an infinite one as the string 'inf'.",
        ),
        FILE.here("The results file."),
    ),
)


def runs_frame(logs: Logs, baselines: Baselines) -> pd.DataFrame:
    """The runs as a table (`RUNS`), in order of date; `perplexities` is JSON."""
    methods = method_names(logs.runs)
    return RUNS.conform(pd.DataFrame([_row(label, run, methods[label], baselines) for label, run in logs.runs.items()]))


def _row(label: str, run: RunLog, method: str, baselines: Baselines) -> dict[str, Any]:
    perplexities = {
        # JSON has no infinity; a string keeps it readable by any parser.
        f"{task.name}/{metric}": value if math.isfinite(value) else str(value)
        for task in run.tasks.values()
        for metric, value in task.perplexities.items()
    }
    with_items = [task.name for task in run.tasks.values() if task.rows]
    computed = {
        "run": label,
        "is_baseline": label in baselines.by_task.values(),
        "baseline": baselines.of(label, with_items) or baselines.of(label, run.tasks),
        "base_model": run.base_model,
        "base_by": _base_by(run),
        "engine": run.engine.runtime,
        "engine_version": run.engine.version,
        "status": run.standing.status,
        "doubts": "; ".join(run.standing.doubts) or None,
        "quantization": _quantization(run),
        "kv_cache": run.engine.kv_cache,
        "parallel": run.engine.parallel,
        "batch_invariant": run.engine.batch_invariant,
        "threads": run.engine.threads,
        "method": method,
        "recipe": asked_recipe(run),
        "variant": variant_of(run),
        "weights_hash": run.facts["weights_hash"] or (run.facts["base_hash"] if run.is_dense else None),
        "dtype": run.dtype,
        "softmax_dtype": run.softmax_dtype,
        "date": run.date,
        "tasks": ", ".join(run.tasks),
        "perplexities": json.dumps(perplexities),
        "file": run.file,
    }
    return {name: computed[name] if name in computed else run.facts[name] for name in RUNS.names}


def _base_by(run: RunLog) -> str | None:
    if told := run.facts.get("base_by"):
        return str(told)
    return None if run.is_dense or not run.facts["pretrained"] else str(run.facts["origin_by"] or "evidence")


def _quantization(run: RunLog) -> str | None:
    return joined([*run.engine.quantization, *(run.facts.get("files_say") or ())]) or None


RUNS_TABLE = ReportTable(
    RUNS,
    (LOGS, BASELINES),
    runs_frame,
    reading=(
        "{method}, {status}, by {engine}, base model {base_model}, compared with {baseline}",
        "{method}, {status}, by {engine}, base model {base_model}, compared with no other run",
    ),
)
