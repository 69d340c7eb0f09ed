"""Compression of a loaded model, in place and proved."""
