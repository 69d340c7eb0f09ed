"""UnifiedQA's published answers to BBQ as lm_eval logs: three prompt formats, as if they were three runs.

    python tools/unifiedqa_runs.py FOLDER
    lm-eval-ext analyze FOLDER --output report

Reads the answers (github.com/nyu-mll/BBQ, results/UnifiedQA) and the stereotype targets from the test data's folder
(LM_EVAL_EXT_DATA). Format race is written as the uncompressed run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.answers import write_unifiedqa_logs

DATA = Path(os.environ.get("LM_EVAL_EXT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def main() -> None:
    """Write the three runs into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = DATA / "unifiedqa"
    if not source.is_dir():
        sys.exit(f"UnifiedQA's answers are not in {source}: set LM_EVAL_EXT_DATA to the folder that has them")
    categories = sorted(path.name.removeprefix("preds_").removesuffix(".jsonl.gz") for path in source.iterdir())
    write_unifiedqa_logs(source, categories, DATA / "bbq" / "target_label.csv.gz", Path(sys.argv[1]))


if __name__ == "__main__":
    main()
