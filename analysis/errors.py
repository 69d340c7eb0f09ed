"""Errors that a user can act on: the same class as `lm_eval_ext.errors`, so that one `except` serves both packages.

Here and in `media` alone `analysis` takes anything from `lm_eval_ext`; neither imports model code.
"""

from __future__ import annotations

from lm_eval_ext.errors import UserError, debugging, require_extra, unknown_name

__all__ = ["UserError", "debugging", "require_extra", "unknown_name"]
