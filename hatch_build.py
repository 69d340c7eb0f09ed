"""The README as a package index shows it: without the links and pictures that only lead somewhere in the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_NOTE = "Pages named here by a path, such as `docs/compression.md`, are in the source distribution.\n"


class CustomMetadataHook(MetadataHookInterface):
    """Gives `readme` to hatchling."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description; the file itself stays as it is."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": standalone(text)}


def standalone(text: str) -> str:
    """Markdown whose links all lead somewhere: pictures and comments go, a relative link becomes its path."""
    text = re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*", "", text)
    text = re.sub(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)]*)\)", _path, text)
    return f"{text.rstrip()}\n\n{_NOTE}"


def _path(link: re.Match[str]) -> str:
    words, target = link.groups()
    return f"`{target}`" if target.startswith(words) else f"{words} (`{target}`)"
