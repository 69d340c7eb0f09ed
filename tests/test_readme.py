"""The README's first commands are the demonstration's, word for word, as a shell runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from lm_eval_ext.demo.run import RECIPES, options
from lm_eval_ext.models.recipe.files import recipe_names
from tests.helpers.venvs import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Stands for both programs: writes down what it was given.
SPY = """#!{python}
import json, sys
if sys.argv[1:] == ["demo-model"]:
    print("/the/model")
else:
    open({log!r}, "a").write(json.dumps([sys.argv[0].rsplit("/", 1)[1], *sys.argv[1:]]) + "\\n")
"""


@pytest.fixture
def show_demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import show_demo

    return show_demo


def test_a_shell_runs_what_the_demonstration_runs(show_demo: ModuleType, tmp_path: Path) -> None:
    block = README[README.index(show_demo.BEGIN) : README.index(show_demo.END)]
    lines = [line[4:] for line in block.splitlines() if line.startswith("    ")]
    log = tmp_path / "log"
    for name in ("lm_eval", "lm-eval-ext"):
        (tmp_path / name).write_text(SPY.format(python=sys.executable, log=str(log)))
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-euc", "\n".join(lines)], env=environment, cwd=tmp_path, check=True)
    ran = [json.loads(line) for line in log.read_text().splitlines()]
    assert ran == [
        *(["lm_eval", *options("/the/model", recipe, "demo-output/runs")] for recipe in RECIPES),
        ["lm-eval-ext", "analyze", "demo-output/runs", "--output", "demo-output/report"],
    ]


def test_the_block_is_written_by_the_tool(show_demo: ModuleType) -> None:
    assert README.count(show_demo.BEGIN) == README.count(show_demo.END) == 1
    assert "".join(f"    {line}\n" for line in show_demo.commands().splitlines()) in README
    assert show_demo.replaced(f"a {show_demo.BEGIN} b {show_demo.END} c", "new") == "a new c"


def test_roles_are_counted_over_all_categories_of_ambiguous_items(show_demo: ModuleType) -> None:
    def row(before: str, after: str, n: int, **more: str) -> dict[str, object]:
        values = {"run": "r", "condition": "ambig", "category": "all"} | more
        return values | {"role_baseline": before, "role_compressed": after, "n": n}

    table = pd.DataFrame(
        [
            row("stereotype", "stereotype", 5),
            row("stereotype", "unknown", 2),
            row("unknown", "stereotype", 3),
            row("anti_stereotype", "anti_stereotype", 1),
            row("unknown", "stereotype", 100, category="Age"),
            row("unknown", "stereotype", 100, condition="disambig"),
            row("unknown", "stereotype", 100, run="other"),
        ]
    )
    text = show_demo.roles(table, "r")
    assert "Of the 11 ambiguous items the dense model answers 7 with the stereotype, r\n8, 3 of them new" in text
    assert text.splitlines()[-4:] == [
        "| stereotype | 5 | 0 | 2 | 7 |",
        "| anti-stereotype | 0 | 1 | 0 | 1 |",
        "| unknown | 3 | 0 | 0 | 3 |",
        "| all | 8 | 1 | 2 | 11 |",
    ]


def test_the_number_of_recipes_is_true() -> None:
    assert f"has {len(recipe_names())} recipes" in README
