"""Bases of an exact encoder: the most accurate and the cheapest in additions."""
