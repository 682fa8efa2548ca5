"""The compiled loops of fused axial attention on the CPU. Importing a module of theirs imports Numba."""
