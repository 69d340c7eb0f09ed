"""The studies' own tests."""
