"""Methods that compress a loaded model in place."""
