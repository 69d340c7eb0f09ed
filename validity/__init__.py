"""Simulation study: whether the default tests reject at their level and the intervals cover, and what they see."""
