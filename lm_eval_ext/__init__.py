"""lm-eval-ext: what compressing a language model does to its behaviour, item by item."""

__version__ = "0.1.0"

__all__ = ["__version__"]
