"""Folding a network for inference: norms into weights, weights packed for the matrix product."""
