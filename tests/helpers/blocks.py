"""The Python blocks of a page, as a reader would run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def run_blocks(page: Path) -> dict[str, Any]:
    """Run a page's Python blocks one after the other in the current folder, and give back their names."""
    names: dict[str, Any] = {"__name__": "notebook"}
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    return names
