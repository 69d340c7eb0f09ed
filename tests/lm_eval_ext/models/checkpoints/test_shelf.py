"""What the cache holds is listed, and only that is removed."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from lm_eval_ext.cli.app import app
from lm_eval_ext.models.checkpoints.cache import checkpoint_cache
from lm_eval_ext.models.checkpoints.kept import kept


def fill(folder: Path) -> dict[str, str]:
    (folder / "a.bin").write_bytes(bytes(2_000_000))
    return {"label": "wanda-50", "base": "org/model"}


def test_list_and_clear(own_cache: Path) -> None:
    cache = checkpoint_cache()
    assert CliRunner().invoke(app, ["cache", "list"]).output == f"0 kept, 0.0 MB in {cache}\n"
    whole = kept(cache, {"name": "k"}, fill).path
    half = cache / f".partial-{'0' * 32}-12345678"
    half.mkdir()
    (cache / "mine").mkdir()
    damaged = kept(cache, {"name": "other"}, fill).path
    (damaged / "kept.json").write_text("{}")
    lines = CliRunner().invoke(app, ["cache", "list"]).output.splitlines()
    assert len(lines) == 4
    (line,) = [line for line in lines if str(whole) in line]
    assert "2.0 MB  wanda-50 of org/model  " in line
    assert any("left half way" in line and str(half) in line for line in lines)
    assert any("damaged: kept.json is" in line and str(damaged) in line for line in lines)
    assert CliRunner().invoke(app, ["cache", "clear"]).output.startswith("3 removed, 4.0 MB in ")
    assert sorted(path.name for path in cache.iterdir()) == [".locks", "mine"]
