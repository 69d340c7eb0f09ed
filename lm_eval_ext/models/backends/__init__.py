"""The seam before the load: who compresses a model, and what comes back."""
