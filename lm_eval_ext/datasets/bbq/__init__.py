"""BBQ (Parrish et al. 2022), and demonstration items in its format."""
