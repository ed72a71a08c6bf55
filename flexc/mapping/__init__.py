"""How contractions are laid over the machine: the problem, the search, an independent legality check."""
