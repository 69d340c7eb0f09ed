"""Answers by item, counted; the measures made from counts."""
