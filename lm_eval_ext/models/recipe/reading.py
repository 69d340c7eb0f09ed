"""Text files that a user names: recipes and calibration text, read whole or refused in one line."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from lm_eval_ext.errors import UserError, seen

__all__ = ["read_text"]

_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""By the mark at the beginning; that of UTF-32 begins with that of UTF-16."""


def read_text(given: str, what: str, most: int, instead: str) -> str:
    """The text of a file, UTF-8, without the mark that some editors put first, lines ended by a line feed.

    Args:
        given: Its path as the user wrote it; `~` is a home folder.
        what: What it is, to start a message with ("recipe file").
        most: Bytes that are read; a larger file is refused.
        instead: What to do where there is no such file, to end the message with.

    Raises:
        UserError: If there is none, its name is no text, it is a folder, a pipe or a device, can't be read, is too
            large, no UTF-8, empty, or holds NUL. Pipes and devices are not opened, since they may never end.
    """

    def fault(why: str) -> UserError:
        return UserError(f"{what} {seen(given)} {why}")

    if "\0" in given:
        raise fault("has NUL in its name; no file has")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise fault("has a name that is no text, so that results could not name it; rename it") from None
    try:
        path = Path(given).expanduser()
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise fault("is a folder; give a file")
        if not stat.S_ISREG(kind):
            raise fault("is a pipe or a device; give a file")
        with path.open("rb") as file:
            # Not by its size alone: some files say 0.
            data = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise fault(f"does not exist; {instead}") from None
    except RuntimeError:  # of expanduser
        raise fault("is in the home folder of a user that is not known here; give the whole path") from None
    except OSError as error:
        raise fault(f"can't be read: {error.strerror or os.strerror(error.errno or 0)}") from None
    if len(data) > most:
        raise fault(f"is larger than {most:,} bytes, which is the most that is read; give a smaller one")
    for mark, name in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise fault(f"is {name}; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fault(f"is not UTF-8: byte {data[error.start]:#04x} in line {line}; save it as UTF-8") from None
    if "\0" in text:
        raise fault(f"is no text: NUL in line {text.count(chr(10), 0, text.index(chr(0))) + 1}")
    if not text.strip():
        raise fault("is empty; give a file with text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
