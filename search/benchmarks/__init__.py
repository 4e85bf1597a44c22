"""Baselines and timing scripts for the search engines."""
