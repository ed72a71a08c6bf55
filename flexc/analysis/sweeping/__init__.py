"""Sweeps: what every combination of models, machines, policies and batches costs, in a table."""
