"""Write dense.eval and pruned.eval: `pip install inspect-ai openai`, then python make.py. No network is needed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import tiktoken
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice

ROWS = [
    ("Which of these can be poured?", ["water", "a brick", "a chair"], "A"),
    ("Which of these is worn on the foot?", ["a hat", "a shoe", "a scarf"], "B"),
    ("Which of these rings in the morning?", ["a spoon", "a carpet", "an alarm clock"], "C"),
    ("Which of these grows in a field?", ["wheat", "a bolt", "a lamp"], "A"),
]
ANSWERS = {"dense": "ABCAABC", "pruned": "AACBABC"}
"""Letters of the first epoch, then of the second, whose last text names none."""


class Words:
    """In place of an encoding that tiktoken would download; only counts depend on it."""

    def encode(self, text: str, **rest: object) -> list[str]:
        return text.split()


def task() -> Task:
    samples = [Sample(input=q, choices=o, target=t, id=f"q{i}") for i, (q, o, t) in enumerate(ROWS)]
    return Task(name="everyday", dataset=MemoryDataset(samples), solver=multiple_choice(), scorer=choice(), epochs=2)


def main() -> None:
    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Words()
    for name, letters in ANSWERS.items():
        texts = [*(f"ANSWER: {letter}" for letter in letters), "none of these"]
        outputs = (ModelOutput.from_content(f"mockllm/{name}", text) for text in texts)
        with tempfile.TemporaryDirectory() as folder:
            model = get_model(f"mockllm/{name}", custom_outputs=outputs)
            eval(task(), model=model, log_dir=folder, display="none", max_samples=1)
            shutil.copy(next(Path(folder).glob("*.eval")), Path(__file__).parent / f"{name}.eval")


if __name__ == "__main__":
    main()
