"""Training experiments that ask whether STL layers help, with the leaks closed: ``python -m kernels.experiments``.

Each experiment is a list of *arms* (what stands in the place of a linear layer) times seeds, all trained by the same
recipe in one run; every finished training appends one row to a CSV file, and a run that is started again goes on
where it stopped.
"""
