"""The kernels for CUDA devices, compiled by Triton, which is imported with any module of this folder."""
