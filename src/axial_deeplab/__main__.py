"""`python -m axial_deeplab` is the command `axial-deeplab`."""

import sys

from axial_deeplab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
