"""Tests that pages name are there."""

from __future__ import annotations

import re

import pytest

from tests.helpers.venvs import ROOT


@pytest.mark.parametrize("page", ["user-reports", "checkpoints"])
def test_tests_that_a_page_names_exist(page: str) -> None:
    named = set(
        re.findall(r"`(test_[a-z0-9_]+)(?:\[[^`]*)?`", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    )
    assert named
    there: set[str] = set()
    for file in (ROOT / "tests").rglob("*.py"):
        there |= set(re.findall(r"def (test_[a-z0-9_]+)", file.read_text(encoding="utf-8")))
    assert named - there == set()
