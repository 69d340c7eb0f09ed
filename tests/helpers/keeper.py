"""A process that keeps a folder: python -m tests.helpers.keeper CACHE KEY [--bytes N] [--stop-after N] [--slow S].

Prints "made PATH" or "found PATH", or "error: LINE" with exit code 2.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError, one_line
from lm_eval_ext.models.checkpoints.kept import kept

FILES = ("a.bin", "deep/b.bin", "c.json")


def content(name: str, size: int) -> bytes:
    """Bytes that differ from file to file."""
    return (name.encode() * (size // len(name) + 1))[:size]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", type=Path)
    parser.add_argument("key")
    parser.add_argument("--bytes", type=int, default=1000)
    parser.add_argument("--stop-after", type=int, default=-1)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--limit", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if options.limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (options.limit, options.limit))

    def write(folder: Path) -> dict[str, Any]:
        assert not list(folder.iterdir())
        print("writing", flush=True)
        for done, name in enumerate(FILES):
            if done == options.stop_after:
                print("half", flush=True)
                time.sleep(60)
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content(name, options.bytes))
        time.sleep(options.slow)
        return {"bits": 4}

    try:
        found = kept(options.cache, {"name": options.key}, write)
    except UserError as error:
        print(f"error: {one_line(error)}", flush=True)
        sys.exit(2)
    assert found.facts == {"bits": 4}
    print(f"{'found' if found.reused else 'made'} {found.path}", flush=True)


if __name__ == "__main__":
    main()
