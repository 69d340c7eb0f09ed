"""`python -m lm_eval_ext` is the command `lm-eval-ext`."""

from lm_eval_ext.cli import main

if __name__ == "__main__":
    main()
