"""How far a run's probabilities lie from its baseline's: over the options of items, and over the tokens of texts."""
