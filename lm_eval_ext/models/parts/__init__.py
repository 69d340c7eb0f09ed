"""The parts of a loaded model, and the way to call it."""
