"""Bytes, memory and speed beside perplexity and verdicts."""
