"""Recipe files as anyone may write them: a recipe, or one line that says what is wrong and where."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.build import build, make_step
from lm_eval_ext.models.recipe.calibration import refuse_unreadable
from lm_eval_ext.models.recipe.files import LARGEST, load_recipe, recipe_names, recipe_text
from lm_eval_ext.models.recipe.plain_yaml import read_yaml, write_yaml
from lm_eval_ext.models.recipe.reading import read_text
from lm_eval_ext.models.recipe.recipe import Calibration, make_recipe
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.recipe.step import LibraryStep

STEP = "{method: rtn, bits: 4}"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


def fault_of(text: str | bytes, folder: Path) -> str:
    """The one line that a recipe file of this content ends with."""
    file = folder / "mine.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as error:
        load_recipe(str(file))
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 700
    assert message.count(str(file)) == 1
    return message.replace(str(file), "FILE")


TWICE = {
    "bits of a step": (
        "name: x\nsteps:\n- method: rtn\n  bits: 3\n  bits: 8\n",
        "line 5: key 'bits' stands twice (first in line 4)",
    ),
    "steps": (f"name: x\nsteps: [{STEP}]\nsteps: []\n", "line 3: key 'steps' stands twice (first in line 2)"),
    "steps in quotes": (f"name: x\nsteps: [{STEP}]\n'steps': []\n", "line 3: key 'steps' stands twice"),
    "an escape in quotes": (f'name: x\nsteps: [{STEP}]\n"\\x73teps": []\n', "line 3: key 'steps' stands twice"),
    "a key of several lines": (f"name: x\nsteps: [{STEP}]\n? |-\n  steps\n: []\n", "line 3: key 'steps' stands twice"),
    "a tagged key": (f"name: x\nsteps: [{STEP}]\n!!str steps: []\n", "line 3: the tag"),
    "a key under options": (
        "name: x\nsteps:\n- method: rtn\n  bits: 4\n  options: {a: {b: 1, b: 2}}\n",
        "line 5: key 'b' stands twice",
    ),
    "a merge": ("name: x\nsteps:\n- <<: {bits: 3}\n  method: rtn\n  bits: 8\n", "line 3: the merge key << is not read"),
    "a merge of an alias": (
        "name: x\nbase: &base {bits: 3}\nsteps:\n- <<: *base\n  bits: 8\n",
        "line 2: '&base': anchors and aliases are not read; write the value out",
    ),
    "a second document": (f"name: x\nsteps: [{STEP}]\n---\nsteps: []\n", "line 3: a second document starts"),
    "a second document behind an end": (f"name: x\nsteps: [{STEP}]\n...\nsteps: []\n", "line 4: "),
    "a list as key": ("name: x\n? [a]\n: 1\n", "line 2: a key is a list or a mapping"),
    "a key that an alias repeats": ("&k name: x\n*k : y\nsteps: []\n", "line 1: '&k': anchors and aliases"),
}


@pytest.mark.parametrize("case", TWICE)
def test_nothing_is_said_twice(case: str, tmp_path: Path) -> None:
    text, message = TWICE[case]
    assert message in fault_of(text, tmp_path)


# What YAML 1.1 makes of it, per PyYAML's SafeLoader, is in the second place: none of it is what a person means.
TRAPS: dict[str, tuple[str, Any, str]] = {
    "octal": ("bits: 010", 8, "010: readers disagree on this number"),
    "octal of 1.2": ("bits: 0o10", "0o10", "0o10: readers disagree"),
    "a leading zero": ("bits: 08", "08", "08: readers disagree"),
    "a leading zero of a fraction": ("sparsity: 00.5", 0.5, "00.5: readers disagree"),
    "hexadecimal": ("bits: 0x4", 4, "0x4: readers disagree"),
    "binary": ("bits: 0b100", 4, "0b100: readers disagree"),
    "underscores": ("group_size: 1_28", 128, "1_28: readers disagree"),
    "a fraction with underscores": ("sparsity: 0.5_0", 0.5, "0.5_0: readers disagree"),
    "yes": ("lm_head: yes", True, "yes: some readers take this for true or false"),
    "Off": ("lm_head: Off", False, "Off: some readers take this for true or false"),
    "infinity": ("sparsity: .inf", float("inf"), ".inf: readers disagree"),
    "more than a float holds": ("sparsity: 1e400", "1e400", "1e400 is larger than any number"),
    "five thousand digits": ("bits: 1" + 5000 * "0", None, "a number of 5001 characters; expected at most 30"),
    "true for a number": ("bits: true", True, "bits: got True, expected a whole number from 2 to 8"),
    "a date": ("bits: 2026-01-02", None, "bits: got '2026-01-02', expected a whole number"),
    "hours and minutes": ("bits: 1:30", 90, "bits: got '1:30', expected a whole number"),
    "a number in quotes": ("bits: '4'", "4", "bits: got '4', expected a whole number"),
    "a comma": ("bits: 4,0", "4,0", "bits: got '4,0', expected a whole number"),
    "a fullwidth digit": ("bits: \uff14", "\uff14", "bits: got '\uff14', expected a whole number"),
    "per cent": ("sparsity: 50%", "50%", "sparsity: got '50%', expected a number"),
    "one for true": ("lm_head: 1", 1, "lm_head: got 1, expected true or false"),
    "a word for true": ("lm_head: 'yes'", "yes", "lm_head: got 'yes', expected true or false"),
    "tagged": ("bits: !!int '4'", 4, "the tag 'tag:yaml.org,2002:int' is not read"),
    "a tag that makes an object": (
        "bits: !!python/object/apply:os.getcwd []",
        None,
        "the tag 'tag:yaml.org,2002:python",
    ),
    "nothing": ("bits:", None, "bits: got None, expected a whole number"),
}


@pytest.mark.parametrize("case", TRAPS)
def test_a_spelling_that_readers_take_differently_is_refused(case: str, tmp_path: Path) -> None:
    line, one_reader, message = TRAPS[case]
    if one_reader is not None:
        assert list(yaml.safe_load(line).values()) == [one_reader]
    method = "magnitude" if "sparsity" in line else "rtn\n  bits: 4" if "bits" not in line else "rtn"
    assert message in fault_of(f"name: x\nsteps:\n- method: {method}\n  {line}\n", tmp_path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("samples: 1e3", 1000),
        ("samples: 128.0", 128),
        ("samples: +16", 16),
        ("samples: 16  # of them", 16),
        ("short: keep", "keep"),
        ("short: 'keep'", "keep"),
        ("source: 010.txt", "010.txt"),
        ("source: 2026-01-02.txt", "2026-01-02.txt"),
        ("seqlen: null", None),
        ("seqlen: ~", None),
    ],
)
def test_what_a_person_means_is_read(line: str, value: object, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: x\nsteps: [{{method: wanda, sparsity: .5}}]\ncalibration:\n  {line}\n", encoding="utf-8")
    recipe = load_recipe(str(file))
    assert recipe.calibration is not None
    found = getattr(recipe.calibration, line.split(":")[0])
    assert (found, type(found)) == (value, type(value))
    assert recipe.sparsity == 0.5


def test_text_that_looks_like_something_else(tmp_path: Path) -> None:
    text = "name: 1:30\ndescription: 2026-01-02\nsource: 1,000\nsteps: []\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    assert (recipe.name, recipe.description, recipe.source) == ("1:30", "2026-01-02", "1,000")
    for line in ("name: 4", "name: true", "name: x\ndescription: 0.5"):
        assert "expected text; write it in quotes" in fault_of(f"{line}\nsteps: []\n", tmp_path)


NUMBERS: list[tuple[dict[str, Any], str]] = [
    ({"method": "wanda", "sparsity": True}, "sparsity: got True, expected a number"),
    ({"method": "wanda", "sparsity": "0.5"}, "sparsity: got '0.5', expected a number, without quotes"),
    ({"method": "wanda", "sparsity": 0.5, "samples": True}, "samples: got True, expected a number"),
    ({"method": "wanda", "sparsity": 0.5, "samples": 16.5}, "samples=16.5"),
    ({"method": "wanda", "sparsity": 0.5, "samples": 1e300}, "samples=1e+300"),
    ({"method": "wanda", "sparsity": 0.5, "samples": 10**18}, "samples=1000000000000000000: input should be less"),
    ({"method": "wanda", "sparsity": 0.5, "samples": 10**5000}, "a number of about 5000 digits"),
    ({"method": "wanda", "sparsity": 0.5, "seqlen": False}, "seqlen: got False, expected a number"),
    ({"method": "wanda", "sparsity": 0.5, "seed": True}, "seed: got True, expected a number"),
    # Python's random takes -1 for 1.
    ({"method": "wanda", "sparsity": 0.5, "seed": -1}, "seed=-1"),
    ({"method": "wanda", "sparsity": 0.5, "sequential": 0}, "sequential: got 0, expected true or false"),
    ({"method": "wanda", "pattern": True}, "pattern: got True, expected text"),
    ({"method": "wanda", "pattern": "02:4"}, "pattern '02:4': expected N:M"),
    ({"method": "wanda", "pattern": f"{'9' * 5000}:4"}, "expected N:M"),
    ({"method": "wanda", "pattern": "\u0662:\u0664"}, "expected N:M"),
    ({"method": "random", "sparsity": 0.5, "seed": True}, "seed: got True, expected a number"),
    ({"method": "random", "sparsity": 0.5, "exact": "no"}, "exact: got 'no', expected true or false"),
    ({"method": "magnitude", "sparsity": b"0.5"}, "sparsity: got b'0.5', expected a number"),
    ({"method": "rtn", "bits": True}, "bits: got True, expected a whole number from 2 to 8"),
    ({"method": "rtn", "bits": 4, "group_size": 10**5000}, "group_size: got a number of about 5000 digits"),
    ({"method": "rtn", "bits": 4, "symmetric": 1}, "symmetric: got 1, expected true or false"),
    ({"method": "mlx_affine", "bits": True}, "bits: got True, expected one of 2, 3"),
]


@pytest.mark.parametrize(("keys", "message"), NUMBERS, ids=[message for _, message in NUMBERS])
def test_model_arguments_and_python_are_as_strict_as_files(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(**keys)
    assert message in str(error.value)
    assert len(str(error.value)) < 700


def test_whole_numbers_and_floats_stand_for_one_another_where_they_are_exact() -> None:
    recipe = resolve(method="wanda", sparsity=0, samples=16.0, seed=7.0)
    assert recipe.calibration == Calibration(samples=16, seed=7)
    assert recipe == resolve(method="wanda", sparsity=0.0, samples=16, seed=7)
    assert make_step({"method": "rtn", "bits": 4.0}) == make_step({"method": "rtn", "bits": 4})
    with pytest.raises(UserError, match="version: got True, expected a number"):
        make_recipe({"version": True, "name": "x"}, "test")


class Library(LibraryStep):
    """A step of another library's."""

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    backend: ClassVar[str] = "none"
    method: Literal["library"] = "library"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "key 'a' stands twice"),
        ('{"a": {"b": 1, "b": 2}}', "key 'b' stands twice"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": ' + "[" * 100_000, "expected a mapping, or JSON text of one"),
        ('{"a": 1' + "0" * 5000 + "}", "5001 digits"),
        ("{", "expected a mapping, or JSON text of one"),
    ],
)
def test_options_as_json_text_are_read_as_strictly(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        build(Library, "method library", {"options": text})
    assert message in str(error.value)
    assert len(str(error.value)) < 700


def test_calibration_lines_that_say_two_things_are_numbered(tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    for line, message in (
        ('{"text": "a", "text": "b"}', "line 2: key 'text' stands twice"),
        ('{"text": "\\ud800"}', "line 2: the text holds half a character"),
        ('{"text": "a", "n": 1' + "0" * 5000 + "}", "line 2: "),
        ('{"text": ' + "[" * 100_000, "line 2: nested too deep"),
    ):
        file.write_text(f'{{"text": "fine"}}\n{line}\n', encoding="utf-8")
        with pytest.raises(UserError, match=message):
            refuse_unreadable(Calibration(source=str(file)))


def test_the_mark_of_an_editor_is_no_token(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_text(str(file), "calibration file", 100, "") == "one\ntwo"


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "nothing": (b"", "recipe file 'FILE' is empty"),
    "blanks": (b" \n\t\n", "recipe file 'FILE' is empty"),
    "UTF-16": ("name: x\nsteps: []\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "UTF-16, the other way": (b"\xfe\xff" + "name: x".encode("utf-16-be"), "is UTF-16; save it as UTF-8"),
    "UTF-32": ("name: x".encode("utf-32"), "is UTF-32; save it as UTF-8"),
    "UTF-16 without a mark": ("name: x".encode("utf-16-le"), "is no text: NUL in line 1"),
    "Latin-1": ("name: x\ndescription: déjà\n".encode("latin-1"), "is not UTF-8: byte 0xe9 in line 2"),
    "NUL": (b"name: x\n\0steps: []\n", "is no text: NUL in line 2"),
    "an escape sequence": (b"name: x\n\x1b[31m: 3\n", "line 2: not readable YAML: character"),
    "a nest of two thousand": ("a: " + "[" * 2000, "line 1: nested deeper than 20 levels"),
    "a nest of mappings": ("a: " + "{a: " * 2000, "line 1: nested deeper than 20 levels"),
    "a nest by indentation": ("".join(f"{' ' * i}a:\n" for i in range(300)), "line 21: nested deeper than 20 levels"),
    "a nest of dashes": ("a:\n " + "- " * 500 + "b\n", "line 2: nested deeper than 20 levels"),
    "anchors that grow": (BOMB + "name: x\nsteps: *i\n", "line 1: '&a': anchors and aliases are not read"),
    "an anchor in itself": ("a: &a [*a]\n", "line 1: '&a': anchors"),
    "too much": (b"#" * (LARGEST + 1), "is larger than 65,536 bytes"),
    "a long name": (f"name: {'x' * 5000}\nsteps: []\n", "can't stand in a table"),
    "a line break in the name": ('name: "a\\nb"\nsteps: []\n', "can't stand in a table"),
    "an escape in the name": ('name: "a\\e[31m"\nsteps: []\n', "can't stand in a table"),
    "a long unknown key": (f"name: x\n{'k' * 900}: 1\n", "unknown key of recipe"),
    "a long value": (f"name: x\nsteps: {'x' * 60000}\n", "steps: got 'xxx"),
    "many values": (f"name: x\nsteps: {{{', '.join(f'k{i}: 1' for i in range(5000))}}}\n", "steps: got {'k0': 1"),
    "no steps": (b"name: x\nstep:\n", "Did you mean 'steps'"),
    "steps dropped": (b"name: x\ndescription: half\n", "steps is missing"),
    "only a comment": (b"# name: x\n", "a recipe is a mapping with version, name and steps"),
    "a tab": (b"name: x\nsteps:\n\t- method: rtn\n", "line 3: not readable YAML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_line(case: str, tmp_path: Path) -> None:
    content, message = BROKEN[case]
    start = time.monotonic()
    assert message in fault_of(content, tmp_path)
    assert time.monotonic() - start < 20


def test_the_mark_of_an_editor_is_no_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: x\r\nsteps: []\r\n")
    assert load_recipe(str(file)).name == "x"
    assert recipe_text(str(file)) == "name: x\nsteps: []\n"


@pytest.mark.parametrize("suffix", [".yaml", ".txt", ".jsonl"])
def test_names_that_lead_nowhere(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str) -> None:
        load_recipe(name) if suffix == ".yaml" else refuse_unreadable(Calibration(source=name))

    def refused(name: str, message: str) -> None:
        with pytest.raises(UserError) as error:
            read(name)
        assert message in str(error.value)
        assert len(str(error.value)) < 700
        assert "\n" not in str(error.value)

    monkeypatch.chdir(tmp_path)
    refused(f"{'x' * 300}{suffix}", "can't be read: File name too long")
    refused(f"{'x/' * 5000}x{suffix}", "can't be read: File name too long")
    refused(f"~nosuchuser/x{suffix}", "is in the home folder of a user that is not known here")
    refused(f"a\0b{suffix}", "has NUL in its name")
    refused(f"a\udcff{suffix}", "has a name that is no text")
    refused(f"none{suffix}", "does not exist; give the path" if suffix != ".yaml" else "does not exist; give a path")
    (tmp_path / "file").touch()
    refused(f"file/x{suffix}", "does not exist")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(f"folder{suffix}", "is a folder; give a file")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"socket{suffix}")
        for name in ("pipe", "zero", "socket"):
            refused(f"{name}{suffix}", "is a pipe or a device; give a file")
    (tmp_path / f"round{suffix}").symlink_to(f"round{suffix}")
    refused(f"round{suffix}", "can't be read: Too many levels of symbolic links")
    (tmp_path / f"gone{suffix}").symlink_to("nowhere")
    refused(f"gone{suffix}", "does not exist")


def test_a_file_that_may_not_be_read_is_a_line(tmp_path: Path) -> None:
    # root may read everything, so another user looks.
    (tmp_path / "mine.yaml").write_text("name: x\nsteps: []\n", encoding="utf-8")
    code = (
        "import os, sys; from lm_eval_ext.models.recipe.reading import read_text; "
        "os.geteuid() == 0 and os.seteuid(65534)\n"
        "try: read_text(sys.argv[1], 'recipe file', 9, '')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    (tmp_path / "mine.yaml").chmod(0)
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "mine.yaml")], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"UserError recipe file '{tmp_path / 'mine.yaml'}' can't be read: Permission denied\n"


LOOKS = {
    "case": "Wanda-50",
    "a dash that is longer": "wanda\u201350",
    "a dash that does not break": "wanda\u201150",
    "a space of no width": "wanda\u200b-50",
    "fullwidth letters": "\uff57anda-50",
    "a Cyrillic letter": "w\u0430nda-50",
    "a space inside": "wanda -50",
    "a label": "Wanda-55",
}


@pytest.mark.parametrize("case", LOOKS)
def test_a_name_that_looks_like_another_is_taken_for_it(case: str, tmp_path: Path) -> None:
    text = f'name: "{LOOKS[case]}"\nsteps: [{{method: magnitude, sparsity: 0.7}}]\n'
    message = fault_of(text, tmp_path)
    assert "is another one" in message or "can't stand in a table" in message or "its steps are" in message


def test_text_comes_back_as_text() -> None:
    # Each of them would be something else without quotes, to this reader or to another.
    words = ["1e3", "010", "0x10", "1_000", "yes", "NO", "true", "null", "~", "", ".5", "5.", "2:4", "2026-01-02"]
    words += ["<<", "=", "a: b", "# no", "- x", "*a", "&a", "!t", "\u00e9", "1.2.3_4", "0o17", " x ", "a\nb", ".inf"]
    words += ["1e400", "9" * 40, "-", "?", "%a", "@a", "`a`"]
    values = {"words": words, "twice": [words, words], "numbers": [1, -2, 0.1, 1e-05, 1e16, True, None]}
    assert read_yaml(write_yaml(values)) == values


def mutated(text: bytes, draw: random.Random) -> bytes:
    """A recipe with something done to it: bytes changed, lines doubled, dropped, swapped or joined."""
    data = bytearray(text)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        kind = draw.randrange(6)
        lines = bytes(data).split(b"\n")
        at = draw.randrange(len(lines))
        if kind == 0 and data:
            data[draw.randrange(len(data))] = draw.randrange(256)
        elif kind == 1 and data:
            data[draw.randrange(len(data))] = ord(draw.choice("0123456789:-_.,'\"&*!?<>[]{}#|~ \t\ny"))
        elif kind == 2:
            lines.insert(draw.randrange(len(lines) + 1), lines[at])
            data = bytearray(b"\n".join(lines))
        elif kind == 3:
            del lines[at]
            data = bytearray(b"\n".join(lines))
        elif kind == 4 and data:
            start = draw.randrange(len(data))
            data[start : start + draw.randrange(4)] = draw.choice(
                (b"", b"0", b"_", b": ", b"010", b"true", b"- ", b"\xff")
            )
        else:
            data = data[: draw.randrange(len(data) + 1)]
    return bytes(data)


def test_a_mutated_recipe_is_that_recipe_another_or_a_line(tmp_path: Path) -> None:
    draw = random.Random(13)
    texts = [(name, recipe_text(name).encode(), load_recipe(name)) for name in recipe_names()]
    file = tmp_path / "mine.yaml"
    stop = time.monotonic() + 4
    kinds = {"equal": 0, "another": 0, "refused": 0}
    # At least a hundred, however slow the machine is.
    while sum(kinds.values()) < 100 or (time.monotonic() < stop and sum(kinds.values()) < 1000):
        name, text, recipe = draw.choice(texts)
        file.write_bytes(mutated(text, draw))
        try:
            found = load_recipe(str(file))
        except UserError:
            kinds["refused"] += 1
            continue
        kinds["equal" if found == recipe else "another"] += 1
        # Whatever is another recipe than the packaged one has another name, so that no table mixes them.
        does = (found.steps, found.calibration, found.dtype)
        assert found.name != name or does == (recipe.steps, recipe.calibration, recipe.dtype), file.read_bytes()
        # And a plain reader finds the same values in the file.
        assert yaml.safe_load(file.read_bytes())["name"] == found.name, file.read_bytes()
        again = tmp_path / "again.yaml"
        again.write_text(found.as_yaml(), encoding="utf-8")
        assert load_recipe(str(again)) == found
    assert min(kinds.values()) > 0, kinds
