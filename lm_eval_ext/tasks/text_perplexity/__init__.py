"""Perplexity on a text of the user's: see README.md."""
