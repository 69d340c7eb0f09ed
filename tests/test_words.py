"""No sentence that a user reads is longer than thirty words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer

from lm_eval_ext.cli.app import app
from tests.helpers.prose import messages, of_markdown, sentences, words
from tests.helpers.venvs import ROOT

MOST = 30
PAGES = ["README.md", "CONTRIBUTING.md", "docs/results/README.md", "benchmarks/README.md"]
PAGES += [
    f"docs/{name}.md"
    for name in (
        *(
            "architecture",
            "compatibility",
            "compression",
            "doctor",
            "export",
            "extending",
            "notebook",
            "plan",
            "plugin",
        ),
        *("logs", "reliability", "sampling", "scoring", "statistics", "studies", "versions"),
    )
]
for folder, pattern in (("lm_eval_ext/tasks", "README.md"), ("docs/methods", "*.md")):
    PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern))


def long(given: list[str]) -> list[str]:
    return [f"{words(sentence)}: {sentence}" for sentence in given if words(sentence) > MOST]


@pytest.mark.parametrize("page", PAGES)
def test_a_page(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    # What tools/families writes there holds messages of other libraries, and lists.
    found = of_markdown(re.sub(r"<!-- families: begin -->.*<!-- families: end -->", "", text, flags=re.DOTALL))
    assert len(found) > 5
    assert long(found) == []


def helps(command: object, name: str = "lm-eval-ext") -> Iterator[tuple[str, str]]:
    """Every help text of a command, its options and the commands below it."""
    yield name, getattr(command, "help", None) or ""
    for option in getattr(command, "params", []):
        yield f"{name} {option.name}", getattr(option, "help", None) or ""
    for below, other in getattr(command, "commands", {}).items():
        yield from helps(other, f"{name} {below}")


def test_help() -> None:
    texts = dict(helps(typer.main.get_command(app)))
    assert {"lm-eval-ext analyze allow", "lm-eval-ext recipes show name"} <= set(texts)
    assert {name: found for name, text in texts.items() if (found := long(sentences(text)))} == {}


@pytest.mark.parametrize("package", ["analysis", "lm_eval_ext"])
def test_messages(package: str) -> None:
    makers = frozenset({"UserError", "Issue", "ValueError", "LogError"})
    said = {
        f"{path.relative_to(ROOT)}:{line}": text
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in messages(path.read_text(encoding="utf-8"), makers)
    }
    assert len(said) > 30
    assert {place: found for place, text in said.items() if (found := long(sentences(text)))} == {}


def test_measuring() -> None:
    page = """---
front: matter
---
# A heading

One `code span with. Dots` here (e.g. This one). Two
goes on. [Three](a.md) *ends*.

    no words here at all

| a | b |
|---|---|
| c | d |

* four. Five!
  Six
"""
    assert of_markdown(page) == [
        "A heading",
        "One Code here (e.g. This one).",
        "Two goes on.",
        "Three ends.",
        "four.",
        "Five!",
        "Six",
    ]
    assert words("One code - here (e.g. This one).") == 6
    source = 'raise UserError(f"{a} is no {b!r}. " "Give one" + more)\nother("x")\nmessage = "y"\n'
    assert list(messages(source, frozenset({"UserError"}))) == [(3, "y"), (1, "x is no x. Give onex")]
