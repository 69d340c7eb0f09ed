"""The version of what a sample log promises."""

from __future__ import annotations

__all__ = ["CONTRACT_VERSION"]

CONTRACT_VERSION = 2
"""Written into every item record.

1: no `version` and no `scheme` in the item; the key is `correct`, sampled texts are `draws`, roles are BBQ's four.
2: items of any number of options carry their scheme of roles; the key is `key` and may be missing; texts are `texts`.
"""
