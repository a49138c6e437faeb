"""`python -m bindspace` is the same as `bindspace`."""

import sys

from bindspace.cli import main

if __name__ == "__main__":
    sys.exit(main())
