"""A sample of the families' table, and that its checks can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.tiny import tiny_tokenizer
from tools.families import checks, references, table
from tools.families.build import LEFT_OUT, families, tiny
from tools.families.examine import examine

# Plain, transposed, tied with maps outside the blocks, fused experts, experts in two dimensions, shared keys and
# values, state and attention side by side, states alone, blocks that share weights, distances by order.
SAMPLE = ("llama", "gpt2", "opt", "mixtral", "dbrx", "gemma3n_text", "falcon_h1", "mamba", "zamba2", "bloom")
# What a family is refused, by column; all else works.
REFUSED: dict[str, set[str]] = {}


@pytest.mark.parametrize("family", SAMPLE)
def test_nothing_is_wrong_and_nothing_ends_in_a_traceback(family: str) -> None:
    cells = examine(family)
    assert cells.pop("build") == ("built", "")
    assert {name: cell for name, cell in cells.items() if cell[0] not in ("works", "refused")} == {}
    assert {name for name, cell in cells.items() if cell[0] == "refused"} == REFUSED.get(family, set())
    assert cells.keys() == checks.CHECKS.keys()


def test_enough_families_are_known() -> None:
    known = families()
    assert len(known) - len(LEFT_OUT) > 120
    assert set(SAMPLE) <= set(known)
    assert set(LEFT_OUT) <= set(known)


def test_weights_depend_on_the_seed_alone() -> None:
    first, again, other = tiny("llama"), tiny("llama"), tiny("llama", seed=1)
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


def test_a_change_that_is_in_no_record_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def heavy_handed(model: Any, *args: Any, **kwargs: Any) -> Any:
        evidence = compress(model, *args, **kwargs)
        model.lm_head.weight.data[0, 0] += 1
        return evidence

    compress = checks.compress_
    monkeypatch.setattr(checks, "compress_", heavy_handed)
    cell = checks.run_check(checks.magnitude, "llama", tiny_tokenizer())
    assert cell == checks.Cell("wrong", "lm_head.weight changed and is in no record")


def test_a_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(model: Any, *args: Any, **kwargs: Any) -> Any:
        evidence = compress(model, *args, **kwargs)
        weight = model.model.layers[1].mlp.up_proj.weight.data
        weight[tuple(weight.nonzero()[0])] = 0
        return evidence

    compress = checks.compress_
    monkeypatch.setattr(checks, "compress_", one_more)
    for check in (checks.magnitude, checks.random, checks.rtn):
        cell = checks.run_check(check, "llama", tiny_tokenizer())
        assert cell.status == "wrong", check
        assert "model.layers.1.mlp.up_proj.weight" in cell.detail


def test_a_wrong_score_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval_ext.models.scoring.checked import TreeScoring

    answers = TreeScoring.answers

    def off(self: Any, requests: Any, done: Any) -> Any:
        found = answers(self, requests, done)
        return None if found is None else [(value + 0.02, flag) for value, flag in found]

    monkeypatch.setattr(TreeScoring, "answers", off)
    assert checks.run_check(checks.letters, "llama", tiny_tokenizer()).status == "wrong"


def test_references_by_hand() -> None:
    weight = torch.tensor([[0.1, -0.4, 0.3, 0.2], [1.0, -2.0, 3.0, -4.0]])
    # 4 of 8 entries: 0.1, 0.2, 0.3 and -0.4 are the smallest.
    assert references.magnitude(weight, 0.5).tolist() == [[0, 0, 0, 0], [1.0, -2.0, 3.0, -4.0]]
    # |w| x sqrt(squares), squares 100, 1, 1, 100: row 0 has 1, .4, .3, 2, row 1 has 10, 2, 3, 40.
    pruned = references.wanda(weight, torch.tensor([100.0, 1.0, 1.0, 100.0]), 0.5)
    assert pruned.tolist() == [[pytest.approx(0.1), 0, 0, pytest.approx(0.2)], [1.0, 0, 0, -4.0]]
    # Two bits over -1 to 2: step 1, codes -2 to 1, zero code -1.
    levels = references.affine_groups(torch.tensor([[-1.0, 2.0, 0.4, 0.6]]), 2, 4)
    assert levels.tolist() == [[-1.0, 2.0, 0.0, 1.0]]
    # mlx, two bits: the edge of larger magnitude is 2, the step -1, its codes 0 to 3.
    assert references.mlx_groups(torch.tensor([[-1.0, 2.0, 0.4, 0.6]]), 2, 4).tolist() == [[-1.0, 2.0, 0.0, 1.0]]


def test_the_table_lists_every_family_and_every_line(tmp_path: Path) -> None:
    cells = {"build": ("built", "")} | dict.fromkeys(checks.CHECKS, ("works", ""))
    found = {
        "one": cells,
        "two": cells | {"wanda": ("refused", "use sequential=False")},
        "three": {"build": ("left out", "a composite")},
        "four": cells | {"saving": ("wrong", "logits differ")},
    }
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(page, found)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "4 model types, 3 of them built and checked." in text
    assert "Everything works (1): one." in text
    works = ["works"] * len(checks.CHECKS)
    place = list(checks.CHECKS).index("wanda")
    assert "| two | " + " | ".join([*works[:place], "refused (2)", *works[place + 1 :]]) + " |" in text
    assert "| four | " + " | ".join([*works[:-1], "**wrong** (1)"]) + " |" in text
    assert "1. logits differ\n2. use sequential=False" in text
    assert "- three: a composite" in text
    other = tmp_path / "other.md"
    other.write_text("no marks")
    with pytest.raises(ValueError, match="marks"):
        table.write(other, found)
