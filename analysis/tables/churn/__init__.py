"""Flips taken apart."""
