"""Training on Lightning: a thin module for each task, optimizers, checkpoints, strategies."""
