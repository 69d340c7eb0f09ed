"""What is measured on a model to prove its compression."""
