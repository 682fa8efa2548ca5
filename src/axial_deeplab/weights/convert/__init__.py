"""Weights of other projects, read without their code and without running any that a file may hold."""
