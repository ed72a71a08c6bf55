"""Training on the executor: data in batches, steps, evaluation, checkpoints, metrics."""
