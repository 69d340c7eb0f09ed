"""What table profiles holds."""

from __future__ import annotations

from ...schema.columns import Column, Table, count, ends, number, text
from ...schema.shared import FILE, OWN_BASELINE, PERPLEXITY_PCT_CHANGE, RUN

__all__ = ["BYTES", "PROFILES", "SPEEDS"]

BYTES = {
    "file_bytes": "Bytes of the weights' files.",
    "archive_bytes": "The same files through a general compressor, which `archive` names.",
    "weight_bytes": "Bytes of the weights in memory.",
    "peak_bytes": "Most memory of the process, in bytes, Python and torch included.",
    "peak_bytes_gpu": "Most memory on the GPU, in bytes; missing without one.",
}
SPEEDS = {"prefill": "read from prompts", "decode": "generated"}


def _speed(name: str, what: str) -> tuple[Column, ...]:
    ratio = f"{name}_time_ratio"
    return (
        number(f"{name}_tokens_per_second", f"Tokens a second {what}, by the median time."),
        number(f"{name}_seconds", "Median seconds of a pass: of a prompt, or of one step."),
        number(f"{name}_seconds_p95", "Seconds that 95 % of the passes don't exceed."),
        number(ratio, "Time over the dense model's, median of the rounds; above 1 is slower. Missing without one."),
        *ends(ratio, "Least and most of the rounds, no interval."),
    )


def _bytes(name: str, doc: str) -> tuple[Column, ...]:
    return number(name, doc), number(f"{name}_ratio", f"{name} over the dense model's; missing without a dense side.")


PROFILES = Table(
    name="profiles",
    doc=(
        "What `lm-eval-ext profile` measured of each run's weights, beside perplexity and verdict: a row a run, "
        "record and batch size."
    ),
    columns=(
        RUN,
        OWN_BASELINE.here("The run of the dense side; missing for the dense side itself, or where there is none."),
        FILE.here("The record."),
        text("device", "What it ran on."),
        count("profile_threads", "Threads of torch.", nullable=True),
        count("n_rounds", "Processes of each model, in turn."),
        text("profile_dtype", "Dtype of the weights as they were loaded.", nullable=True),
        number("disk_bits_per_weight", "Bits of the files a weight."),
        *(column for name, doc in BYTES.items() for column in _bytes(name, doc)),
        text("archive", "The general compressor: zstd, or zlib at a level; missing without one.", nullable=True),
        number("load_seconds", "Median seconds to load the checkpoint."),
        number("load_seconds_p95", "Seconds that 95 % of the loads don't exceed."),
        count("batch", "Prompts at once."),
        *(column for name, what in SPEEDS.items() for column in _speed(name, what)),
        text("perplexity_task", "Task that the perplexity is of.", nullable=True).here("Missing without one."),
        PERPLEXITY_PCT_CHANGE,
        text("run_verdict", "The run's word in run_verdicts; missing for a baseline.", nullable=True),
    ),
)
