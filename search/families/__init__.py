"""Candidate families, one module each, one `search.core.unit.register` call each."""
