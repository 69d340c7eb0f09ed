"""Score many continuations from one pass over what their prompts share."""
