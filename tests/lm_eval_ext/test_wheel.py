"""The wheel in an empty environment: what is in it, the main job run from there, and what stays behind."""

from __future__ import annotations

import re
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from markdown_it import MarkdownIt

from tests.helpers.venvs import LM_EVAL, ROOT, SITE, Venv, link_distributions, required

DEMO_JOB = ("--tasks", "bbq_itemlevel_demo", "--limit", "8", "--log_samples", "--output_path", "runs")


def test_contents(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    packages = (path for name in ("lm_eval_ext", "analysis") for path in (ROOT / name).rglob("*"))
    files = {path for path in packages if path.is_file() and "__pycache__" not in path.parts}
    wanted = {str(path.relative_to(ROOT)) for path in files}
    wanted |= {f"lm_eval_ext/{path.relative_to(ROOT)}" for path in (ROOT / "recipes").rglob("*.yaml")}
    wanted |= {"lm_eval_ext/py.typed", "analysis/py.typed", "lm_eval_ext_hook.pth", "_lm_eval_ext_hook.py"}
    assert wanted <= names
    # Enough that an emptied folder can't make the comparison above hold by itself.
    assert any(name.startswith("lm_eval_ext/recipes/wanda") for name in names)
    assert any(name.startswith("lm_eval_ext/datasets/bbq/") and name.endswith(".jsonl") for name in names)
    roots = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert roots == {"lm_eval_ext", "analysis", "lm_eval_ext_hook.pth", "_lm_eval_ext_hook.py"}


def test_entry_point_for_later_lm_eval(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        text = archive.read(name).decode()
    assert "[lm_eval.models]\ncompressed_hf = lm_eval_ext.models.compressed_hf:CompressedHFLM\n" in text


def described(wheel: Path) -> str:
    """The description that an index renders: what follows the headers."""
    with ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(name).decode())
    assert headers["Description-Content-Type"] == "text/markdown"
    return str(headers.get_payload())


def test_description_leads_nowhere_that_an_index_has_not(wheel: Path) -> None:
    text = described(wheel)
    tokens = [token for block in MarkdownIt("commonmark").enable("table").parse(text) for token in block.children or []]
    targets = [
        token.attrs.get("href") or token.attrs.get("src") for token in tokens if token.type in ("link_open", "image")
    ]
    # Of the links of the repository's page only the harness's leads anywhere from there.
    assert targets == ["https://github.com/EleutherAI/lm-evaluation-harness"]
    assert not re.search(r"<(!--|img|a |source)", text)
    assert "docs/images" not in text


def test_description_is_the_readme(wheel: Path) -> None:
    text, readme = described(wheel), (ROOT / "README.md").read_text(encoding="utf-8")
    code = [line for line in readme.splitlines() if line.startswith(("    ", "## "))]
    assert code == [line for line in text.splitlines() if line.startswith(("    ", "## "))]
    for path in re.findall(r"\]\((?!http)([\w./]+\.md)[^)]*\)", readme):
        assert (ROOT / path).is_file()
        assert f"`{path}`" in text


@pytest.mark.slow
def test_stock_command_lists_our_tasks(installed: Venv, tmp_path: Path) -> None:
    done = installed.run(LM_EVAL, "ls", "tasks", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = {line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")}
    assert {"bbq_itemlevel", "bbq_itemlevel_demo", "text_perplexity", "wikitext"} <= listed


@pytest.mark.slow
def test_main_job(installed: Venv, tmp_path: Path, tiny_checkpoint: Path) -> None:
    where = installed.code(
        "import lm_eval_ext, analysis.errors as a; print(lm_eval_ext.__file__, a.__file__)", tmp_path
    )
    assert all(Path(path).is_relative_to(installed.site) for path in where.stdout.split()), where.stderr
    for recipe in ("", ",recipe=magnitude-50"):
        model = ("--model", "compressed_hf", "--model_args", f"pretrained={tiny_checkpoint}{recipe}")
        done = installed.run(LM_EVAL, *model, *DEMO_JOB, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    assert len(list(tmp_path.rglob("results_*.json"))) == 2
    command = installed.folder / "bin" / "lm-eval-ext"
    done = installed.run(command, "analyze", "runs", "--output", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "report" / "items.parquet").stat().st_size > 0
    assert (tmp_path / "report" / "tables" / "rates.csv").read_text().count("\n") > 1


@pytest.mark.slow
def test_base_install_names_the_extra(wheel: Path, tmp_path: Path) -> None:
    env = Venv(tmp_path / "venv")
    env.install(wheel)
    link_distributions(required(wheel), tmp_path / "base")
    env.see(tmp_path / "base")
    assert env.code("import torch", tmp_path).returncode == 1
    done = env.run(LM_EVAL, "--model", "compressed_hf", "--model_args", "pretrained=m", *DEMO_JOB, cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'lm-eval-ext[hf]'" in done.stderr.splitlines()[-1]


def test_uninstall_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    env = Venv(tmp_path / "venv")
    before = env.files()
    env.install(wheel)
    env.see(SITE)
    # Use it, so that compiled files exist which pip did not write.
    source = "import lm_eval.models, lm_eval.tasks, lm_eval_ext.cli, lm_eval_ext.models.recipe.recipe"
    done = env.code(source, tmp_path, {"PYTHONDONTWRITEBYTECODE": ""})
    assert done.returncode == 0, done.stderr
    assert len(env.files()) > len(before) + 20
    (env.site / "zz_dependencies.pth").unlink()
    env.pip("uninstall", "--yes", "lm-eval-ext")
    assert env.files() - before == set()
