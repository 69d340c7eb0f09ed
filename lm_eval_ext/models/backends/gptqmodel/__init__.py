"""GPTQModel, in a process of its own."""
