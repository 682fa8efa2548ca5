"""Layers, backbones, decoders and the registry of named networks."""
