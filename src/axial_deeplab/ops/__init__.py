"""The mathematics: position-sensitive axial attention and its implementations."""
