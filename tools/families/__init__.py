"""Every decoder family of transformers, tiny, held against plain references; `python -m tools.families` tells more."""
