"""Measuring: cases, correctness gates, timing, studies and figures; ``python -m kernels.bench``."""
