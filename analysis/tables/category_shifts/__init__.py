"""How likely categories' changes are beyond the margin, pooled partly."""
