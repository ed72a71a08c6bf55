"""How contractions are laid over the machine: the problem, the search, and an independent check of legality."""
