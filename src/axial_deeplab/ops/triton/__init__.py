"""The Triton kernels of fused axial attention. Importing a module of theirs imports Triton."""
