"""transformers' own quantizers, which work while a model is loaded."""
