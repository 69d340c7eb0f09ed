"""What a compressed model costs and gains where it runs: bytes, memory, time, beside the dense one."""
