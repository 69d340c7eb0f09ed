"""A compressed model as a folder to give away: written, loaded again, and only then called done."""
