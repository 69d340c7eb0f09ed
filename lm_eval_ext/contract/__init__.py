"""What a sample log promises to whoever reads it: item, answer, scheme of roles, and their version."""
