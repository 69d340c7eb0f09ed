"""The `lm-eval-ext` command."""

from lm_eval_ext.cli.app import app, main

__all__ = ["app", "main"]
