"""Discovery of encoders: families of candidates, optimisers, rationalisation, ledger, catalogue, command-line verbs."""
