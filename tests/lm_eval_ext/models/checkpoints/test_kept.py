"""Kept folders under faults, with real processes: one whole folder or none, and one line on what is wrong."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lm_eval_ext.models.checkpoints.kept import CacheError, disk_fault, kept
from lm_eval_ext.models.checkpoints.manifest import MANIFEST, read_manifest
from tests.helpers.keeper import FILES, content

KEEPER = (sys.executable, "-m", "tests.helpers.keeper")
NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*KEEPER, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def keep(*arguments: object) -> str:
    """The last line of a process that keeps a folder."""
    return start(*arguments).communicate(timeout=60)[0].splitlines()[-1]


def whole(cache: Path) -> Path:
    """The one folder of a cache, looked at by hand; nothing else lies there."""
    (place,) = [path for path in cache.iterdir() if path.name != ".locks"]
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()) == sorted(
        (*FILES, MANIFEST)
    )
    for name in FILES:
        assert (place / name).read_bytes() == content(name, 1000)
    return place


def private_mounts() -> bool:
    command = [*NAMESPACE, "mount -t tmpfs tmpfs /mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


needs_mounts = pytest.mark.skipif(not private_mounts(), reason="needs unshare with mounts of its own")


def test_it_is_made_once_and_found_again(tmp_path: Path) -> None:
    assert keep(tmp_path, "k") == f"made {whole(tmp_path)}"
    assert keep(tmp_path, "k") == f"found {whole(tmp_path)}"
    keep(tmp_path, "other")
    assert len([path for path in tmp_path.iterdir() if path.name != ".locks"]) == 2


def test_of_two_processes_at_once_one_writes_and_the_other_waits(tmp_path: Path) -> None:
    both = [start(tmp_path, "k", "--slow", 2.5), start(tmp_path, "k", "--slow", 2.5)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert sum("writing" in text for text in said) == 1
    place = whole(tmp_path)
    assert sorted(text.splitlines()[-1] for text in said) == [f"found {place}", f"made {place}"]
    assert sum("another process works on" in text for text in said) == 1


@pytest.mark.parametrize("files", [0, 1, 2])
def test_killed_half_way_leaves_nothing_that_is_taken_for_whole(tmp_path: Path, files: int) -> None:
    process = start(tmp_path, "k", "--stop-after", files)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "half":
        pass
    process.kill()
    process.communicate(timeout=60)
    # The lock's file and the half folder are there still; neither is in the way.
    assert [path.suffix for path in (tmp_path / ".locks").iterdir()] == [".lock"]
    assert [path.name.startswith(".partial-") for path in tmp_path.iterdir() if path.name != ".locks"] == [True]
    said = start(tmp_path, "k").communicate(timeout=60)[0]
    assert "another process" not in said
    assert said.splitlines()[-1] == f"made {whole(tmp_path)}"


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


FAULTS: dict[str, Callable[[Path], object]] = {
    "is not what was written": lambda place: flip(place / "a.bin"),
    "has 999 bytes, 1000 were written": lambda place: (place / "a.bin").write_bytes(content("a.bin", 999)),
    "b.bin is missing": lambda place: (place / "deep/b.bin").unlink(),
    "d.bin does not belong there": lambda place: (place / "d.bin").write_bytes(b"x"),
    f"{MANIFEST} is missing": lambda place: (place / MANIFEST).unlink(),
    f"{MANIFEST} is not what": lambda place: (place / MANIFEST).write_text(
        (place / MANIFEST).read_text().replace('"bits": 4', '"bits": 8')
    ),
    f"{MANIFEST} is missing or no manifest": lambda place: (place / MANIFEST).write_text("[" * 5000),
    "is no plain file": lambda place: (place / "link").symlink_to("/etc/hostname"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_damaged_is_said_and_made_again(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    keep(tmp_path, "k")
    FAULTS[fault](whole_before := next(path for path in tmp_path.iterdir() if path.name != ".locks"))

    def write(folder: Path) -> dict[str, int]:
        for name in FILES:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content(name, 1000))
        return {"bits": 4}

    found = kept(tmp_path, {"name": "k"}, write)
    assert not found.reused
    assert found.path == whole(tmp_path) == whole_before
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert fault in warning
    assert "\n" not in warning
    assert read_manifest(found.path) == {"bits": 4}


@needs_mounts
def test_a_disk_that_fills_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    line = " ".join(KEEPER)
    script = (
        f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && {line} {tmp_path} small; "
        f"{line} {tmp_path} k --bytes 700000; ls -A {tmp_path} | grep -c partial"
    )
    done = subprocess.run([*NAMESPACE, script], capture_output=True, text=True, timeout=60, check=False)
    lines = [text for text in done.stdout.splitlines() if text != "writing"]
    assert lines[0].startswith("made ")
    assert "No space left on device" in lines[1]
    assert lines[1].startswith(f"error: nothing can be kept in {tmp_path} (")
    assert lines[2] == "0"


@needs_mounts
def test_a_disk_that_fills_under_safetensors_is_told_from_other_faults(tmp_path: Path) -> None:
    program = (
        "import torch, sys; from safetensors.torch import save_file\n"
        "from lm_eval_ext.models.checkpoints.kept import disk_fault\n"
        "try: save_file({'a': torch.zeros(1_000_000)}, sys.argv[1] + '/a.safetensors')\n"
        "except Exception as error: print(type(error).__name__, disk_fault(error).errno)\n"
    )
    script = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && {sys.executable} -c "{program}" {tmp_path}'
    done = subprocess.run([*NAMESPACE, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split()[-1] == str(errno.ENOSPC), done.stderr
    old = type("SafetensorError", (Exception,), {})('IoError(Os { code: 28, kind: StorageFull, message: "No space" })')
    fault = disk_fault(old)
    assert fault is not None
    assert fault.errno == errno.ENOSPC
    assert disk_fault(type("SafetensorError", (Exception,), {})("header too large")) is None


@needs_mounts
def test_a_read_only_cache_is_read_and_not_written(tmp_path: Path) -> None:
    line = " ".join(KEEPER)
    script = (
        f"mount -t tmpfs tmpfs {tmp_path} && {line} {tmp_path} k && mount -o remount,ro {tmp_path}; "
        f"{line} {tmp_path} k; {line} {tmp_path} other; {line} {tmp_path}/deeper k"
    )
    done = subprocess.run([*NAMESPACE, script], capture_output=True, text=True, timeout=60, check=False)
    made, found, refused, deeper = [text for text in done.stdout.splitlines() if text != "writing"]
    assert made.split()[1] == found.split()[1]
    assert found.startswith("found ")
    assert refused.startswith("error: nothing can be kept in ")
    assert "Read-only file system" in refused
    assert "Read-only file system" in deeper


def test_a_limit_on_file_sizes_is_one_line(tmp_path: Path) -> None:
    said = keep(tmp_path, "k", "--bytes", 20_000, "--limit", 10_000)
    assert said.startswith("error: nothing can be kept in ")
    assert "File too large" in said
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


def test_what_write_raises_is_raised_and_nothing_is_kept(tmp_path: Path) -> None:
    def write(folder: Path) -> dict[str, int]:
        (folder / "a.bin").write_bytes(b"half")
        raise ConnectionError("the hub is away")

    with pytest.raises(ConnectionError, match="the hub is away"):
        kept(tmp_path, {"name": "k"}, write)
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


def test_a_file_where_the_cache_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match="nothing can be kept in"):
        kept(tmp_path / "cache", {"name": "k"}, lambda folder: {})


def test_facts_are_the_same_when_found(tmp_path: Path) -> None:
    def write(folder: Path) -> dict[str, object]:
        (folder / "a").write_bytes(b"")
        return {"shape": (1, 2)}

    first = kept(tmp_path, {"name": "k"}, write)
    assert kept(tmp_path, {"name": "k"}, write).facts == first.facts == {"shape": [1, 2]}
    assert json.loads((first.path / MANIFEST).read_text())["key"] == {"name": "k"}
