"""The `lm-eval-ext` command."""

from __future__ import annotations

import sys

from lm_eval_ext.errors import UserError, debugging, one_line

__all__ = ["main"]


def main() -> None:
    """Run the command line. What keeps it from being loaded is one line too: an installation without our analysis."""
    try:
        from lm_eval_ext.cli.app import main as run
    except UserError as error:
        if debugging():
            raise
        sys.stderr.write(f"error: {one_line(error)}\n")
        sys.exit(2)
    run()
