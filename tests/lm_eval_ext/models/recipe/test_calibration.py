"""Calibration text: where samples come from, what their hash is, and a clear end when they can't be had."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.calibration import CalibrationRecord, load_calibration
from lm_eval_ext.models.recipe.recipe import Calibration
from tests.helpers.ends import ended_tokenizer
from tests.helpers.tiny import TEXT


def load(
    tokenizer: Any, source: object, *, max_length: int | None = 512, **keys: Any
) -> tuple[list[list[int]], CalibrationRecord]:
    samples, record = load_calibration(Calibration(source=str(source), **keys), tokenizer, max_length)
    assert all(sample.dtype == torch.int64 and sample.shape[0] == 1 for sample in samples)
    return [sample[0].tolist() for sample in samples], record


def lines(path: Path, *documents: object) -> Path:
    path.write_text("\n".join(json.dumps(document, ensure_ascii=False) for document in documents), encoding="utf-8")
    return path


def inside(piece: list[int], whole: list[int]) -> bool:
    return any(whole[start : start + len(piece)] == piece for start in range(len(whole) - len(piece) + 1))


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    return lines(tmp_path / "documents.jsonl", *({"text": f"{number} {TEXT[number:]}"} for number in range(12)))


def test_pieces_of_one_text(tokenizer: Any, text_file: Path) -> None:
    samples, record = load(tokenizer, text_file, samples=5, seqlen=64)
    whole = tokenizer(text_file.read_text(encoding="utf-8"))["input_ids"]
    assert [len(sample) for sample in samples] == [64] * 5
    assert all(inside(sample, whole) for sample in samples)
    assert len({tuple(sample) for sample in samples}) == 5
    assert (record.source, record.samples, record.seqlen, record.seed) == (str(text_file), 5, 64, 0)
    assert (record.tokens, record.shortest) == (320, 64)


def test_a_piece_each_of_different_documents(tokenizer: Any, tmp_path: Path) -> None:
    # Twelve documents, each with a letter of its own, so that a piece tells where it comes from.
    texts = [" ".join(f"{letter}{number}" for number in range(40)) for letter in "GHIJKLMNOPQR"]
    samples, record = load(
        tokenizer, lines(tmp_path / "d.jsonl", *({"text": text} for text in texts)), samples=12, seqlen=20
    )
    wholes = [tokenizer(text)["input_ids"] for text in texts]
    origins = [[index for index, whole in enumerate(wholes) if inside(sample, whole)] for sample in samples]
    assert sorted(origins) == [[index] for index in range(12)]
    assert origins != sorted(origins)
    # Not only beginnings.
    starts = {tuple(sample) == tuple(wholes[origin[0]][:20]) for sample, origin in zip(samples, origins, strict=True)}
    assert False in starts
    assert record.tokens == 240


def test_a_line_may_be_a_string(tokenizer: Any, tmp_path: Path) -> None:
    file = lines(tmp_path / "strings.jsonl", TEXT, TEXT[5:])
    assert load(tokenizer, file, samples=2, seqlen=32)[1].samples == 2


def test_hash_by_hand(tokenizer: Any, documents: Path, text_file: Path) -> None:
    for source, keys in ((text_file, {"samples": 3, "seqlen": 17}), (documents, {"samples": 9, "seqlen": 50})):
        samples, record = load(tokenizer, source, **keys)
        digest = hashlib.sha256()
        for sample in samples:
            digest.update(len(sample).to_bytes(8, "little"))
            for token in sample:
                digest.update(token.to_bytes(8, "little", signed=True))
        assert record.token_hash == digest.hexdigest()


@pytest.mark.parametrize("kind", ["text", "documents"])
def test_seed_decides(kind: str, tokenizer: Any, text_file: Path, documents: Path) -> None:
    source = text_file if kind == "text" else documents
    runs = [load(tokenizer, source, samples=6, seqlen=40, seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0][1].token_hash != runs[2][1].token_hash
    assert runs[2][1].seed == 1


def test_where_a_file_lies_does_not_change_the_tokens(tokenizer: Any, documents: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_bytes(documents.read_bytes())
    keys = {"samples": 6, "seqlen": 40}
    assert load(tokenizer, copy, **keys)[1].token_hash == load(tokenizer, documents, **keys)[1].token_hash


@pytest.mark.parametrize(("max_length", "seqlen"), [(None, 2048), (512, 512), (4096, 2048), (131072, 2048)])
def test_default_length(max_length: int | None, seqlen: int, tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text(TEXT * 30, encoding="utf-8")
    assert load(tokenizer, file, samples=1, max_length=max_length)[1].seqlen == seqlen


def test_seqlen_above_the_model(tokenizer: Any, text_file: Path) -> None:
    with pytest.raises(UserError, match="seqlen=513 exceeds the model's 512 positions; give at most that"):
        load(tokenizer, text_file, seqlen=513)
    assert load(tokenizer, text_file, seqlen=512, samples=1)[1].seqlen == 512


def test_text_of_exactly_one_sample(tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "exact.txt"
    file.write_text(TEXT, encoding="utf-8")
    whole = tokenizer(TEXT)["input_ids"]
    samples, _ = load(tokenizer, file, samples=2, seqlen=len(whole))
    assert samples == [whole, whole]
    with pytest.raises(UserError, match=rf"has {len(whole)} tokens, fewer than one sample of seqlen={len(whole) + 1}"):
        load(tokenizer, file, samples=2, seqlen=len(whole) + 1)


def test_overlapping_samples_are_logged(tokenizer: Any, text_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = len(tokenizer(text_file.read_text(encoding="utf-8"))["input_ids"])
    load(tokenizer, text_file, samples=8, seqlen=32)
    assert "overlap" not in caplog.text
    load(tokenizer, text_file, samples=tokens // 32 + 1, seqlen=32)
    assert f"has {tokens} tokens for {32 * (tokens // 32 + 1)} asked: its samples overlap" in caplog.text


def test_hash_and_counts_are_logged(tokenizer: Any, text_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lm_eval_ext"):
        record = load(tokenizer, text_file, samples=2, seqlen=16)[1]
    assert f"2 samples, 32 tokens of {text_file}, token hash {record.token_hash}" in caplog.text


@pytest.fixture
def few_long(tmp_path: Path) -> Path:
    """Two documents of more than 64 tokens, three of fewer, and one of none."""
    return lines(
        tmp_path / "few.jsonl", *({"text": text} for text in (TEXT, TEXT[3:], "A B C", "A B C D E F", "A B", ""))
    )


def test_fewer_documents_than_asked(few_long: Path, tokenizer: Any) -> None:
    longest = len(tokenizer("A B C D E F")["input_ids"])
    message = rf"2 of 6 documents have 64 tokens, 4 asked; 3 shorter ones have at most {longest}; .* or short=keep"
    with pytest.raises(UserError, match=message):
        load(tokenizer, few_long, samples=4, seqlen=64)
    assert load(tokenizer, few_long, samples=2, seqlen=64)[1].samples == 2


def test_short_documents_are_kept_whole_on_request(
    few_long: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    samples, record = load(tokenizer, few_long, samples=4, seqlen=64, short="keep")
    # The longest of the short ones, as they are: no padding.
    assert samples[2:] == [tokenizer("A B C D E F")["input_ids"], tokenizer("A B C")["input_ids"]]
    assert [len(sample) for sample in samples[:2]] == [64, 64]
    assert (record.samples, record.shortest) == (4, len(samples[3]))
    assert record.tokens == sum(map(len, samples))
    assert "2 of 6 documents have 64 tokens; 2 shorter ones are taken whole" in caplog.text


def test_too_few_documents_even_so(few_long: Path, tokenizer: Any) -> None:
    # Five have two tokens or more; a message that proposes what was given already would mock its reader.
    with pytest.raises(UserError, match="2 of 6 documents have 64 tokens, 6 asked") as error:
        load(tokenizer, few_long, samples=6, seqlen=64, short="keep")
    assert "short=keep" not in str(error.value)


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
@pytest.mark.parametrize("content", ["", " \n\n\t\n"])
def test_empty_files(suffix: str, content: str, tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / f"empty.{suffix}"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"empty.{suffix}' is empty; give a file with text"):
        load(tokenizer, file)


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_files_that_are_not_there_or_no_text(suffix: str, tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / f"none.{suffix}"
    with pytest.raises(
        UserError, match=rf"calibration file .*none.{suffix}' does not exist; give the path of a .txt or .jsonl"
    ):
        load(tokenizer, file)
    file.write_bytes(b"\xff\x00\x81")
    with pytest.raises(UserError, match=rf"calibration file .*none.{suffix}' is not UTF-8: byte 0xff in line 1"):
        load(tokenizer, file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "half', "line 3: not JSON"),
        ('{"content": "x"}', "line 3: expected an object with a string 'text'"),
        ('{"text": 3}', "line 3: expected an object with a string 'text'"),
        ("[1, 2]", "line 3: expected an object with a string 'text'"),
    ],
)
def test_malformed_lines_are_numbered(line: str, message: str, tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "broken.jsonl"
    # The blank second line counts, as it does in an editor.
    file.write_text('{"text": "fine"}\n\n' + line + '\n{"text": "fine"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=rf"broken.jsonl', {message}"):
        load(tokenizer, file)


def test_line_separators_inside_a_string(tokenizer: Any, tmp_path: Path) -> None:
    # U+2028 and U+0085 end a line for str.splitlines, but may stand in a JSON string as they are.
    file = lines(tmp_path / "separators.jsonl", {"text": f"one\u2028two\x85three {TEXT}"}, {"text": TEXT})
    assert load(tokenizer, file, samples=2, seqlen=32)[1].samples == 2
    file.write_text('{"text": "one"}\r\n{"text": "two"}\r\n', encoding="utf-8", newline="")
    assert load(tokenizer, file, samples=2, seqlen=2, short="keep")[1].samples == 2


@pytest.mark.parametrize("source", ["c44", "text", "folder/", "my.csv", "my.json"])
def test_unknown_sources(source: str, tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"expected c4, wikitext, demo, or the path of a \.txt or \.jsonl file"):
        load(tokenizer, source)


@pytest.mark.parametrize("source", ["c4", "wikitext"])
def test_no_network(source: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets.config
    import huggingface_hub.constants

    # An empty cache, so that nothing of an earlier download helps.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path)
    with pytest.raises(UserError) as error:
        load(tokenizer, source)
    message = str(error.value)
    assert message.startswith(f"calibration={source} can't be had from the hub (")
    assert message.endswith("use text at hand: calibration=FILE.txt, FILE.jsonl or demo")
    assert "\n" not in message


def test_packaged_text(tokenizer: Any) -> None:
    samples, record = load(tokenizer, "demo", samples=16, seqlen=128)
    assert record.source == "demo"
    assert record.tokens == 16 * 128
    assert len({tuple(sample) for sample in samples}) == 16


def test_home_folder(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.txt").write_text(TEXT, encoding="utf-8")
    assert load(tokenizer, "~/mine.txt", samples=1, seqlen=16)[1].samples == 1
    assert load(tokenizer, f"~/{documents.name}", samples=1, seqlen=16)[1].samples == 1


@pytest.mark.parametrize("template", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_documents_begin_as_prompts_do_and_do_not_end(template: str, tokenizer: Any, tmp_path: Path) -> None:
    file = lines(tmp_path / "d.jsonl", {"text": TEXT})
    own = tokenizer(TEXT)["input_ids"]
    first = [1] if template.startswith("<s>") else []
    samples, _ = load(ended_tokenizer(template), file, samples=1, seqlen=len(first) + len(own))
    assert samples == [[*first, *own]]
    with pytest.raises(UserError, match="0 of 1 documents have"):
        load(ended_tokenizer(template), file, samples=1, seqlen=len(first) + len(own) + 1)


@pytest.mark.parametrize("more", [0, 1, 2])
@pytest.mark.parametrize("kind", ["text", "documents"])
def test_every_start_has_its_turn(kind: str, more: int, tokenizer: Any, tmp_path: Path) -> None:
    # Pieces of a text that is 0, 1 or 2 tokens longer than a piece: 1, 2 or 3 starts, the last one included.
    whole = tokenizer(TEXT)["input_ids"]
    seqlen = len(whole) - more
    starts = set()
    for seed in range(40):
        file = tmp_path / ("one.txt" if kind == "text" else "one.jsonl")
        if kind == "text":
            file.write_text(TEXT, encoding="utf-8")
        else:
            lines(file, TEXT)
        (sample,) = load(tokenizer, file, samples=1, seqlen=seqlen, seed=seed)[0]
        (start,) = [start for start in range(more + 1) if whole[start : start + seqlen] == sample]
        starts.add(start)
    assert starts == set(range(more + 1))


def test_documents_of_one_token_are_no_samples(tokenizer: Any, tmp_path: Path) -> None:
    # There is nothing to predict in one token; two are the least that is kept.
    assert [len(tokenizer(text)["input_ids"]) for text in ("A", "AB")] == [1, 2]
    file = lines(tmp_path / "short.jsonl", "A", "AB", "A", "")
    samples, record = load(tokenizer, file, samples=1, seqlen=3, short="keep")
    assert (samples, record.shortest) == ([tokenizer("AB")["input_ids"]], 2)
    with pytest.raises(UserError, match="0 of 4 documents have 3 tokens, 2 asked; 1 shorter ones have at most 2"):
        load(tokenizer, file, samples=2, seqlen=3, short="keep")
    # As long as a piece, it is one: two tokens of two.
    assert load(tokenizer, file, samples=1, seqlen=2)[0] == [tokenizer("AB")["input_ids"]]
