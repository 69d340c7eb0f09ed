"""llm-compressor, in a process of its own."""
