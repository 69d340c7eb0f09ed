"""What goes into a model: token ids, their windows and positions. Needs neither torch nor transformers."""
