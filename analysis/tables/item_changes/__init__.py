"""Which answers changed: the list behind every count."""
