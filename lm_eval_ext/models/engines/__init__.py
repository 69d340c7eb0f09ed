"""Models behind engines that are not ours: servers, and vLLM in this process."""
