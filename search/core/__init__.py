"""The spine: units, the loop that runs them, where they run, what was run, what is kept."""
