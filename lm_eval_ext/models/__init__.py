"""Model classes for lm-evaluation-harness. Importing this package loads neither torch nor transformers."""
