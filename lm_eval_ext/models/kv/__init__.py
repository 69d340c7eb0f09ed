"""KV-cache quantization: keys and values rounded where attention reads them."""
