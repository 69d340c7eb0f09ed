"""Dose-response."""
