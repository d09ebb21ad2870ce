"""The command line `dhm`, of a clone that is not installed: `python launch.py --help`."""

import sys

from dhm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
