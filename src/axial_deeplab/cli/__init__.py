"""The command `axial-deeplab`: each file has the subcommands of one subject; nothing below parses words."""

from axial_deeplab._moved import contents_moved

__getattr__ = contents_moved(__name__, "axial_deeplab.cli.main")  # was a module until version 0.1
