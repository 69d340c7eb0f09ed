"""Which compressor takes which architecture: every method on tiny models of twelve families, as a table for the docs.

    python -m tools.compressors --out docs/compressors-matrix.md [--methods "llmc_gptq 4"] [--families llama]

Each cell is a whole run: compressed, loaded and measured by `compressed_hf`. "works" is status proved; "unverified"
gives the doubt, "refused" the line that a user gets.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import tempfile
import time
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "phi3", "opt", "gpt2", "gpt_neox", "mixtral",
    "qwen3_moe",
)  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "qwen3": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16, "sliding_window": 8, "tie_word_embeddings": True},
    "qwen3_moe": {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
}
_DATA: dict[str, Any] = {"samples": 4, "seqlen": 64}
METHODS: dict[str, dict[str, Any]] = {
    "wanda 2:4": {"method": "wanda", "pattern": "2:4", **_DATA},
    "rtn 4": {"method": "rtn", "bits": 4, "group_size": 32},
    "hqq 4": {"method": "hqq", "bits": 4, "group_size": 32},
    "bitsandbytes 8": {"method": "bitsandbytes", "bits": 8},
    "bitsandbytes nf4": {"method": "bitsandbytes", "bits": 4},
    "torchao 4": {"method": "torchao", "bits": 4, "group_size": 32},
    "llmc_rtn w8a8": {"method": "llmc_rtn", "bits": 8, "granularity": "channel", "activation_bits": 8},
    "llmc_gptq 4": {"method": "llmc_gptq", "bits": 4, "group_size": 32, **_DATA},
    "llmc_awq 4": {"method": "llmc_awq", "bits": 4, "group_size": 32, **_DATA},
    "smoothquant+llmc_rtn 4": {"method": "smoothquant+llmc_rtn", "bits": 4, "group_size": 32, **_DATA},
    "spinquant+llmc_rtn 4": {"method": "spinquant+llmc_rtn", "bits": 4, "group_size": 32},
    "sparsegpt 2:4": {"method": "sparsegpt", "pattern": "2:4", **_DATA},
    "llmc_wanda 50": {"method": "llmc_wanda", "sparsity": 0.5, **_DATA},
    "gptq 4": {"method": "gptq", "bits": 4, "group_size": 32, "checkpoint": "dequantized", "dtype": "float16", **_DATA},
    "awq 4": {"method": "awq", "bits": 4, "group_size": 32, "checkpoint": "dequantized", "dtype": "float16", **_DATA},
}


def cell(source: Path, arguments: dict[str, Any], text: Path) -> str:
    """One run: "works", or what was told."""
    from lm_eval_ext.errors import UserError
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    data = {"calibration": str(text)} if "samples" in arguments else {}
    try:
        model = CompressedHFLM(pretrained=str(source), device="cpu", **data, **arguments)
    except UserError as error:
        line = re.sub(r"^\S+ by \w+( is not what was asked)?: ", "", str(error)).replace(str(source), "M")
        return "refused: " + re.sub(r"\S+/checkpoints/\w+", "made of it", line)
    found = model.get_model_info()["compression"]
    return "works" if found["status"] == "proved" else f"{found['status']}: {'; '.join(found['doubts'])}"


def run(families: list[str], methods: list[str], serve: bool) -> dict[tuple[str, str], str]:
    """All cells; a line to the terminal each."""
    from lm_eval_ext.models.backends import making
    from tests.helpers.compress import write_text
    from tests.helpers.script_server import ScriptServer
    from tests.helpers.tiny import write_tiny

    found: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["LM_EVAL_EXT_CACHE"] = str(folder / "cache")
        text = write_text(folder / "text.txt")
        server = ScriptServer(folder) if serve else None
        alone = making.run_isolated

        def isolated(script: Path, request: Any, **options: Any) -> dict[str, Any]:
            one = server is not None and script.name == "run_llmcompressor.py"
            return server.run(script, request, **options) if one and server else alone(script, request, **options)

        making.run_isolated = isolated
        for family in families:
            source = write_tiny(family, folder / family, **SIZES.get(family, {}))
            for name in methods:
                start = time.monotonic()
                found[family, name] = cell(source, METHODS[name], text)
                print(f"{family} | {name} | {time.monotonic() - start:.1f} s | {found[family, name]}", flush=True)
        making.run_isolated = alone
        if server is not None:
            server.close()
    return found


def table(found: dict[tuple[str, str], str]) -> str:
    """Markdown: families down, methods across, lines below."""
    families, methods = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
    lines: list[str] = []
    rows = [f"| | {' | '.join(methods)} |", f"|---|{'---|' * len(methods)}"]
    for family in families:
        cells = []
        for method in methods:
            told = found.get((family, method), "not tried")
            kind, _, reason = told.partition(": ")
            if reason and reason not in lines:
                lines.append(reason)
            cells.append(f"{kind} ({lines.index(reason) + 1})" if reason else kind)
        rows.append(f"| {family} | {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "llmcompressor", "gptqmodel"))
    notes = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    return "\n".join(
        [f"Run on {date.today()}, on a CPU, with {versions}.", "", *rows, "", "The lines:", "", *notes, ""]
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def main() -> None:
    """Read the options, run, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--families", default=",".join(FAMILIES))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found = run(options.families.split(","), options.methods.split(","), serve=True)
    options.out.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
