"""What to do to a model, as data."""
