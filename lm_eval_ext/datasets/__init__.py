"""Benchmarks as items: a module or folder each, from published rows to item records."""
