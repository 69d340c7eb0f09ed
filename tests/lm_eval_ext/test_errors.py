"""What a command says of an exception that ends it, as text and as a whole process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import analysis.errors
from lm_eval_ext.errors import UserError, one_line, require_text
from tests.helpers.venvs import ROOT, Venv

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("give\n  one"), "give one"),
        (analysis.errors.UserError("nothing"), "nothing"),
        (KeyboardInterrupt(), "interrupted"),
        (PermissionError(13, "Permission denied", "/x/y"), "Permission denied: /x/y (LM_EVAL_EXT_DEBUG=1 shows where)"),
        (OSError(28, "No space left on device"), "No space left on device (LM_EVAL_EXT_DEBUG=1 shows where)"),
        (OSError(18, "Cross-device", "/a", None, "/b"), "Cross-device: /a -> /b (LM_EVAL_EXT_DEBUG=1 shows where)"),
        (ConnectionError("the hub\nis away"), "the hub is away (LM_EVAL_EXT_DEBUG=1 shows where)"),
        (OSError(), "OSError (LM_EVAL_EXT_DEBUG=1 shows where)"),
        (ValueError("a fault of ours"), None),
        (ZeroDivisionError(), None),
        (SystemExit(3), None),
    ],
)
def test_one_line(error: BaseException, line: str | None) -> None:
    assert one_line(error) == line


def test_the_nearest_name_is_found_in_one_place() -> None:
    sources = [path for name in ("analysis", "lm_eval_ext") for path in (ROOT / name).rglob("*.py")]
    assert len(sources) > 100
    finding = {str(path.relative_to(ROOT)) for path in sources if "difflib" in path.read_text(encoding="utf-8")}
    assert finding == {"lm_eval_ext/errors.py"}


def test_both_packages_raise_the_same_class() -> None:
    assert analysis.errors.UserError is UserError


def test_text_that_is_none() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        "caf\udce9".encode()
    line = one_line(caught.value)
    assert line is not None
    assert line.startswith("'\\udce9' can't be written as utf-8: name holds bytes")
    with pytest.raises(UserError, match=r"--output 'caf\\udce9' .*PYTHONUTF8=1"):
        require_text("--output", "caf\udce9")
    require_text("--output", "café")


def test_the_folder_that_one_is_in_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    with pytest.raises(UserError, match="--output 'report' is in a folder whose name"):
        require_text("--output", "report")


def ext(*arguments: str, stdout: object = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[str]:
    """`lm-eval-ext` as a process of its own."""
    line = [sys.executable, "-m", "lm_eval_ext", *arguments]
    return subprocess.run(
        line, cwd=ROOT, env=os.environ | variables, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )  # type: ignore[call-overload]  (stdout may be a pipe's constant or a file)


@needs_full
@pytest.mark.parametrize("arguments", [("recipes", "list"), ("recipes", "show", "rtn-4"), ("--version",), ("--help",)])
def test_a_full_disk_behind_stdout_is_a_line(arguments: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        done = ext(*arguments, stdout=full)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device (LM_EVAL_EXT_DEBUG=1 shows where)\n"


@needs_full
def test_what_stays_in_the_buffer_is_written_before_the_end() -> None:
    source = "from lm_eval_ext.cli.app import app, main; app.command('short')(lambda: print('x')); main()"
    line = [sys.executable, "-c", source, "short"]
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with FULL.open("w") as full:
        done = subprocess.run(line, cwd=ROOT, env=buffered, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device (LM_EVAL_EXT_DEBUG=1 shows where)\n"


@needs_full
def test_debug_shows_where() -> None:
    with FULL.open("w") as full:
        done = ext("recipes", "show", "rtn-4", stdout=full, LM_EVAL_EXT_DEBUG="1")
    assert done.returncode not in (0, 2)
    assert "Traceback" in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    # Far more than a pipe holds, so that the writing meets the closed end.
    source = "from lm_eval_ext.cli.app import app, main; app.command('long')(lambda: print('x' * 10**6)); main()"
    command = f'{sys.executable} -c "{source}" long | head -c 5; echo " ${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("xxxxx 1\n", "")


def test_closed_streams_take_everything(tmp_path: Path) -> None:
    command = f"{sys.executable} -m lm_eval_ext recipes list >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_path_with_an_accent_under_the_c_locale(variables: dict[str, str], tmp_path: Path) -> None:
    done = ext("analyze", f"{tmp_path}/läufe", "--output", f"{tmp_path}/bericht", **variables)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    # Logs are found by their bytes, whatever these mean here; a report's path is written into the report.
    assert "is not a folder" in done.stderr
    done = ext("analyze", str(tmp_path), "--output", f"{tmp_path}/läufe", **variables)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert ("PYTHONUTF8=1" in done.stderr) == ("PYTHONUTF8" in variables)


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
from lm_eval_ext.cli.app import app, main
def wait():
    print("ready", flush=True)
    time.sleep(60)
app.command("wait")(wait)
sys.argv = ["lm-eval-ext", "wait"]
main()
"""


def test_an_interrupt_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()


STOCK = """
import sys
sys.argv[0] = {program!r}
import lm_eval.models
raise {error}
"""


@pytest.mark.parametrize(
    ("program", "error", "line"),
    [
        ("/bin/lm_eval", "PermissionError(13, 'Permission denied', '/x')", "error: Permission denied: /x "),
        ("/site/lm_eval/__main__.py", "OSError(28, 'No space left on device')", "error: No space left on device "),
        ("/bin/lm-eval", "KeyboardInterrupt", "error: interrupted"),
        ("/bin/lm_eval", "BrokenPipeError(32, 'Broken pipe')", ""),
        ("/bin/lm_eval", "KeyError('x')", "KeyError: 'x'"),
        ("/bin/other", "PermissionError(13, 'Permission denied', '/x')", "PermissionError: "),
        ("/bin/other", "__import__('lm_eval_ext.errors').errors.UserError('give one')", "error: give one"),
    ],
)
def test_the_stock_command(program: str, error: str, line: str, installed: Venv, tmp_path: Path) -> None:
    done = installed.code(STOCK.format(program=program, error=error), tmp_path)
    assert done.returncode == (-signal.SIGINT if error == "KeyboardInterrupt" else 1)
    assert (done.stderr.splitlines() or [""])[-1].startswith(line)
    assert ("Traceback" in done.stderr) == (not line.startswith("error") and line != "")
