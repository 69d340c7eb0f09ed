"""What is compared with what, and whether it may be."""
