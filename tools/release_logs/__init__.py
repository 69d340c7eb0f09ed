"""Logs of every lm_eval release, kept as fixtures of the reader: two tiny models and three small tasks."""
