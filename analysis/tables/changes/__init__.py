"""Changes against the baseline, tested."""
