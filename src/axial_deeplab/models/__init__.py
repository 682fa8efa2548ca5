"""Layers, backbones, decoders, heads and the registry of named networks."""
