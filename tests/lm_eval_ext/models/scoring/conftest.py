"""Every test compares its models anew."""

from __future__ import annotations

import pytest

from lm_eval_ext.models.scoring import trust


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    trust.forget()
