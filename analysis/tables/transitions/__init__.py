"""Which answers changed, and in which direction."""
