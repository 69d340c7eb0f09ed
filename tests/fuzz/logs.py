"""The logs that are altered: real ones, which lm_eval wrote of a tiny model, as it is and quantized.

They are kept in logs.zip, so that a seed alters the same bytes on every machine. `python -m tests.fuzz.logs` runs
lm_eval and writes them anew: after a change of what our tasks log.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.tiny import tiny_model, tiny_tokenizer

__all__ = ["Base", "Content", "make_bases", "stored_bases"]

STORED = Path(__file__).parent / "logs.zip"

TASKS = Path(__file__).parent / "tasks"
_OURS = ("bbq_itemlevel_demo", "bbq_itemlevel_cyclic_demo", "bbq_itemlevel_text_demo", "bbq_itemlevel_sampled_demo")
_PLAIN = ("fuzz_choice", "fuzz_share", "fuzz_words", "fuzz_rolling", "bbq")
_RECIPES = ("dense", "rtn-3")
_LIMIT = 24
_BY_TASK = ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes")


@dataclass(frozen=True)
class Content:
    """One run of one task: its two files."""

    results_name: str
    results: bytes
    samples_name: str
    samples: bytes
    """As written, so packed where the name ends in .gz."""


@dataclass(frozen=True)
class Base:
    """One task's logs, of the model as it is and compressed."""

    name: str
    runs: tuple[Content, Content]
    """Uncompressed, compressed."""

    def write(self, folder: Path, changed: Content | None = None, at: int = 0) -> None:
        """Write both runs as lm_eval would into one folder; `changed` takes the place of the run `at`."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for place, run in enumerate(self.runs):
            run = changed if changed is not None and place == at else run
            (folder / run.results_name).write_bytes(run.results)
            (folder / run.samples_name).write_bytes(run.samples)


def stored_bases() -> list[Base]:
    """The logs of logs.zip, and one of them packed, as a user packs them."""
    found: dict[str, list[Content]] = {}
    with zipfile.ZipFile(STORED) as archive:
        for name in sorted(archive.namelist()):
            task, file = name.split("/")
            if file.startswith("results_"):
                samples = f"samples_{task}_{file.removeprefix('results_')}l"
                content = Content(file, archive.read(name), samples, archive.read(f"{task}/{samples}"))
                found.setdefault(task, []).append(content)
    bases = [Base(task, (found[task][0], found[task][1])) for task in (*_OURS, *_PLAIN)]
    first, second = (_packed(run) for run in bases[0].runs)
    return [*bases, Base(f"{bases[0].name}.gz", (first, second))]


def _packed(run: Content) -> Content:
    return Content(run.results_name, run.results, f"{run.samples_name}.gz", gzip.compress(run.samples, mtime=0))


def write_stored(folder: Path) -> None:
    """Make the logs in a folder, and keep them."""
    with zipfile.ZipFile(STORED, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for base in make_bases(folder):
            for run in base.runs:
                for name, content in ((run.results_name, run.results), (run.samples_name, run.samples)):
                    # With no time of its own: the same logs make the same archive.
                    archive.writestr(zipfile.ZipInfo(f"{base.name}/{name}"), content, zipfile.ZIP_DEFLATED, 9)


def make_bases(folder: Path) -> list[Base]:
    """Run every task on a tiny model, dense and quantized, and part the logs by task."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    from lm_eval_ext import plugin

    plugin.activate()
    model = _model(folder / "model")
    stock = Path(lm_eval.__file__).parent / "tasks" / "bbq" / "bbq_multiple_choice.yaml"
    included = folder / "tasks"
    shutil.copytree(TASKS, included)
    rows = "custom_dataset: !function utils.load_bbq\ndataset_path: null\ndataset_name: null\n"
    (included / "bbq.yaml").write_text(f"include: {stock}\ntask: bbq\n{rows}")
    output = folder / "runs"
    for recipe in _RECIPES:
        arguments = {"pretrained": str(model), "recipe": recipe, "max_length": 2048}
        tracker = EvaluationTracker(output_path=str(output))
        found = lm_eval.simple_evaluate(
            model="compressed_hf",
            model_args=arguments,
            tasks=[*_OURS, *_PLAIN],
            task_manager=TaskManager(
                include_path=[str(included), str(Path(plugin.__file__).parent / "tasks")],
                include_defaults=False,
                metadata=arguments
                | {"sampling": {"max_gen_toks": 1}},  # longer texts of such a model are seldom answers
            ),
            device="cpu",
            batch_size=8,
            limit=_LIMIT,
            bootstrap_iters=0,
            evaluation_tracker=tracker,
        )
        samples = found.pop("samples")
        tracker.save_results_aggregated(results=found, samples=samples)
        for task in found["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])
    results = sorted(output.rglob("results_*.json"), key=lambda path: path.name)
    machine = [str(folder), str(folder).replace("/", "__"), *(str(Path(m.__file__).parent) for m in (lm_eval, plugin))]
    return _parted(results, b"|".join(re.escape(place).encode() for place in machine))


def _model(folder: Path) -> Path:
    """A tiny model whose next token is mostly A, B or C, so that sampled texts have answers in them."""
    model, tokenizer = tiny_model("llama", max_position_embeddings=2048), tiny_tokenizer()
    letters = [tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "ABC"]
    model.lm_head.weight.data[letters] *= 4
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _dated(content: dict[str, Any], place: int) -> tuple[str, dict[str, Any]]:
    """A date and times that every run of this has, so that a seed gives the same mutations on the same logs."""
    times = {"date": 1.7e9 + place, "start_time": 1.0 + place, "end_time": 2.0 + place}
    fixed = times | {"total_evaluation_time_seconds": "1.0"}
    return f"2026-01-02T03-04-0{place}.000001", {key: fixed.get(key, value) for key, value in content.items()}


def _parted(results: list[Path], machine: bytes) -> list[Base]:
    """The logs by task; `machine` is a pattern of folders."""
    bases = []
    for task in (*_OURS, *_PLAIN):
        runs = []
        for place, path in enumerate(results):
            old = path.stem.partition("_")[2]
            date, content = _dated(json.loads(path.read_bytes()), place)
            for key in _BY_TASK:
                content[key] = {name: value for name, value in content[key].items() if name == task}
            content["group_subtasks"] = {task: []}
            samples = path.with_name(f"samples_{task}_{old}.jsonl").read_bytes()
            content["pretty_env_info"] = "left out"
            packed = json.dumps(content, indent=2, ensure_ascii=False).encode()
            # Nothing of the machine that they were made on.
            packed, samples = (re.sub(machine, b"/logs", raw) for raw in (packed, samples))
            runs.append(Content(f"results_{date}.json", packed, f"samples_{task}_{date}.jsonl", samples))
        bases.append(Base(task, (runs[0], runs[1])))
    return bases


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        write_stored(Path(made))
