"""Candidate families, one module each, one `search.registry.register` call each."""
