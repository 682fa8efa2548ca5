"""Parameters, multiply-adds and activations of networks, beside the published digits."""
