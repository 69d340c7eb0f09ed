"""What a backend is asked and answers: which arguments go on, and what it may refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Checkpoint, InPlace, Source
from lm_eval_ext.models.backends.registry import prepare
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.recipe.resolve import DENSE, resolve


def test_places_of_the_source_lead_nowhere_in_another_folder() -> None:
    given = {"revision": "v2", "subfolder": "deep", "gguf_file": "m.gguf", "dtype": "float16", "device": "cpu"}
    source = Source(pretrained="org/m", loader=given)
    elsewhere = Checkpoint(pretrained="/cache/m", claim=Claim(), loader={"gptqmodel": True, "dtype": "bfloat16"})
    assert elsewhere.arguments(source) == {"dtype": "bfloat16", "device": "cpu", "gptqmodel": True}
    # A loader that compresses reads the source itself.
    same = Checkpoint(pretrained="org/m", claim=Claim(), loader={"quantization_config": "q"})
    assert same.arguments(source) == given | {"quantization_config": "q"}


@pytest.mark.parametrize("key", ["peft", "delta"])
def test_an_adapter_is_in_no_file_of_the_model(key: str) -> None:
    with pytest.raises(UserError, match=rf"backend toy compresses no model under an adapter \({key}\); merge it first"):
        Source(pretrained="org/m", loader={key: "org/adapter"}).named("toy")
    assert Source(pretrained="org/m", loader={key: None}).named("toy") == "org/m"


def test_a_model_object_has_no_name() -> None:
    with pytest.raises(UserError, match="backend toy needs the folder or name of a model, got a loaded object"):
        Source(pretrained=object()).named("toy")


@pytest.mark.parametrize(
    "recipe", [DENSE, resolve(method="rtn", bits=4), resolve(method="random+rtn", bits=4, sparsity=0)]
)
def test_ours_work_in_place(recipe: object, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert isinstance(prepare(Source(pretrained="org/m"), recipe, cache), InPlace)
    assert not cache.exists()
