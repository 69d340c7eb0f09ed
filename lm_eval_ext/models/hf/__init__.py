"""lm_eval's Hugging Face model: loaded, encoded, in several processes."""
