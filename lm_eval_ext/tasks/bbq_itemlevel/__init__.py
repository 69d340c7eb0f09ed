"""BBQ, item by item: see README.md."""
