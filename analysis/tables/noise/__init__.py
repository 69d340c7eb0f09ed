"""Noise floors."""
