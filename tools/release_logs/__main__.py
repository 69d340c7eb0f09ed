"""Run `python -m tools.release_logs RELEASES`: every lm_eval release on two tiny models, its files kept as fixtures.

RELEASES holds a folder for each release, named after it, with that release's `lm_eval` package in it (a wheel,
unpacked). What a release writes is kept in `tests/data/lm_eval_logs/RELEASE.zip`, byte for byte but for
`pretty_env_info`: four thousand characters about the machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "data" / "lm_eval_logs"
MODELS = ("base", "rounded")
TASKS = "ferry_choice,ferry_letter,ferry_text"


def models(folder: Path) -> None:
    """Write a tiny random model, and the same with its matrices rounded to eight levels a row."""
    from tests.helpers.tiny import tiny_model, tiny_tokenizer

    for name in MODELS:
        model = tiny_model("llama", seed=3)
        for parameter in model.parameters() if name == "rounded" else ():
            if parameter.ndim >= 2:
                step = parameter.data.abs().amax(-1, keepdim=True) / 3
                parameter.data = (parameter.data / step).round().clamp(-4, 3) * step
        model.save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)


def run(release: Path, model: str, folder: Path) -> list[Path]:
    """The files that one release writes of one model."""
    output = folder / release.name / model
    command = [sys.executable, str(Path(__file__).with_name("start.py")), "--model", "hf"]
    command += ["--model_args", f"pretrained={model},dtype=float32", "--tasks", TASKS]
    if release.name != "0.4.9.2":  # it fails for every task outside its own folder
        command += ["--include_path", "tasks"]
    command += ["--output_path", str(output.relative_to(folder)), "--log_samples", "--batch_size", "1"]
    found = {"PYTHONPATH": str(release), "LM_EVAL_EXT_NO_HOOK": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [*command, "--device", "cpu"], cwd=folder, env=os.environ | found, capture_output=True, text=True, check=False
    )
    files = sorted(path for path in output.rglob("*") if path.is_file()) if output.is_dir() else []
    if done.returncode or len(files) != 4:
        raise SystemExit(f"{release.name} wrote {len(files)} of 4 files of {model}:\n{done.stderr[-3000:]}")
    return files


def keep(release: str, files: list[Path], folder: Path) -> None:
    """Put the files into the release's archive, the machine's description left out, dated like nothing."""
    with zipfile.ZipFile(KEPT / f"{release}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            text = path.read_bytes().decode("utf-8")
            if path.suffix == ".json":
                text = re.sub(r'"pretty_env_info": "(?:[^"\\]|\\.)*"', '"pretty_env_info": "left out"', text)
                json.loads(text)
            entry = zipfile.ZipInfo(str(path.relative_to(folder / release)), (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)


def main(releases: Path, only: list[str]) -> None:
    """Every release of the folder, or those that are named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models(folder)
        shutil.copytree(KEPT / "tasks", folder / "tasks")
        for release in sorted(path for path in releases.iterdir() if (path / "lm_eval").is_dir()):
            if release.name == "0.4.9.2":
                shutil.copytree(KEPT / "tasks", release / "lm_eval" / "tasks" / "ferry", dirs_exist_ok=True)
            if not only or release.name in only:
                keep(release.name, [path for model in MODELS for path in run(release, model, folder)], folder)
                print(release.name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
