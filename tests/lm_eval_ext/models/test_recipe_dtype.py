"""A recipe of a published study says so where the weights have another dtype than the study's."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.tiny import write_tiny


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("llama", tmp_path_factory.mktemp("tiny") / "llama")


@pytest.mark.parametrize(
    ("recipe", "dtype", "warned"),
    [
        ("rath-magnitude-50", "float32", True),
        ("rath-magnitude-50", "float16", True),
        ("rath-magnitude-50", "bfloat16", False),
        ("rath-q-4", "float32", True),
        ("magnitude-50", "float32", False),
        ("dense", "float32", False),
    ],
)
def test_one_warning_where_the_dtype_is_not_the_studys(
    recipe: str, dtype: str, warned: bool, llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lm_eval_ext"):
        model = CompressedHFLM(pretrained=str(llama), recipe=recipe, dtype=dtype, device="cpu")
    lines = [record.getMessage() for record in caplog.records if "another protocol" in record.getMessage()]
    assert len(lines) == warned
    if warned:
        assert f"these are {dtype}" in lines[0]
        assert "dtype=bfloat16" in lines[0]
    logged = model.get_model_info()["compression"]
    assert (logged["dtype"], logged["recipe"]["dtype"]) == (dtype, "bfloat16" if "rath" in recipe else None)
