"""The kernels for the CPU, compiled by Numba, which is imported with any module of this folder."""
