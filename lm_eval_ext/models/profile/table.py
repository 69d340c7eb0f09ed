"""A profile as a table, and in a few sentences what of it is a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lm_eval_ext.media import for_terminal

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ROUNDS", "print_profile", "sentences"]

# Files that differ by less are the same size: configs and headers.
_SAME_SIZE = 0.01
ROUNDS = 6
"""Fewer than so many that all show the same may be chance: of six, one in 32 does where there is no difference."""


def print_profile(record: Mapping[str, Any], console: Console) -> None:
    """Print what was measured, one line a quantity."""
    from rich.table import Table

    sides: Sequence[Mapping[str, Any]] = record["sides"]
    machine, settings = record["machine"], record["settings"]
    table = Table(
        title=f"{machine['device']}, {machine['threads']} threads, {settings['rounds']} rounds in turn",
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    table.add_column("")
    for side in sides:
        table.add_column(for_terminal(side["label"] or side["name"]), justify="right")
    if record["ratios"]:
        table.add_column("ratio", justify="right")
    for name, values, ratio in _rows(sides, record["ratios"], settings):
        table.add_row(name, *values, *([ratio] if record["ratios"] else []))
    console.print(table)
    for line in sentences(record):
        console.print(line, highlight=False)


def _rows(
    sides: Sequence[Mapping[str, Any]], ratios: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[tuple[str, list[str], str]]:
    rows: list[tuple[str, list[str], str]] = [("dtype", [side["dtype"] for side in sides], "")]
    for key, name in (
        ("file_bytes", "weights on disk, MB"),
        ("archive_bytes", f"weights through {settings['archive']}, MB"),
        ("weight_bytes", "weights in memory, MB"),
        ("peak_bytes", "peak memory of the process, MB"),
        ("peak_bytes_gpu", "peak memory of the GPU, MB"),
    ):
        if any(side[key] is not None for side in sides):
            ratio = f"{ratios[key]:.2f}" if key in ratios else ""
            rows.append((name, [_of(side[key], 1e6, ",.1f") for side in sides], ratio))
    rows.append(("bits a weight on disk", [_of(side["bits_per_weight"], 1, ".2f") for side in sides], ""))
    if any(side["packed_bits_per_weight"] for side in sides):
        packed = [_of(side["packed_bits_per_weight"], 1, ".2f") for side in sides]
        rows.append(("bits a weight, were it packed", packed, ""))
    rows.append(("load, s", [_time(side["load_seconds"], 1, "") for side in sides], _ratio(ratios, "load_seconds")))
    for batch in map(str, settings["batches"]):
        for key, name in (("prefill", "prefill"), ("decode", "decode step")):
            found = [side["batches"][batch] for side in sides]
            ratio = _ratio(ratios, f"{key}_seconds_batch_{batch}")
            times = [_time(side[f"{key}_seconds"], 1e3, " ms") for side in found]
            rows.append((f"{name}, batch {batch}", times, ratio))
            rows.append(("  tokens a second", [f"{side[f'{key}_tokens_per_second']:,.1f}" for side in found], ""))
    return rows


def sentences(record: Mapping[str, Any]) -> list[str]:
    """What is gained and what is not, in words; nothing for one side alone."""
    ratios = record["ratios"]
    if not ratios:
        return []
    lines = [_size(ratios["file_bytes"], "on disk"), _size(ratios["weight_bytes"], "in memory")]
    for batch in record["settings"]["batches"]:
        spread, rounds = ratios[f"decode_seconds_batch_{batch}"], record["settings"]["rounds"]
        between = f"{1 / spread['most']:.2f} to {1 / spread['least']:.2f} times as fast, round by round"
        if spread["least"] <= 1 <= spread["most"]:
            word = "no difference seen"
        elif rounds < ROUNDS:
            word = f"can't tell from {rounds} rounds, give --rounds {ROUNDS}"
        else:
            word = "faster" if spread["most"] < 1 else "slower"
        lines.append(f"Decoding at batch {batch}: {word} ({between}).")
    return lines


def _size(ratio: float, where: str) -> str:
    if abs(ratio - 1) < _SAME_SIZE:
        return f"Weights {where}: nothing saved."
    return f"Weights {where}: {ratio:.2f} times the dense size."


def _of(value: float | None, unit: float, form: str) -> str:
    return "can't tell" if value is None else format(value / unit, form)


def _time(times: Mapping[str, float], unit: float, name: str) -> str:
    median, p95 = (
        f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (times["median"] * unit, times["p95"] * unit)
    )
    return f"{median}{name} (p95 {p95})"


def _ratio(ratios: Mapping[str, Any], key: str) -> str:
    if key not in ratios:
        return ""
    spread = ratios[key]
    return f"{spread['median']:.2f} ({spread['least']:.2f} to {spread['most']:.2f})"
