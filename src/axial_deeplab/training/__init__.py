"""Training on Lightning: module, optimizers and the train command."""
