"""The fuzzer: python -m tests.fuzz --files 10000

Feeds damaged files to every reader and prints a table. Stops at the first file that is neither read
nor refused by a `BadInputError`, or that takes longer than 2 s.
"""

import argparse
import logging
import re
import tempfile
from pathlib import Path

from tests.fuzz.damage import feed
from tests.fuzz.readers import readers

_LONGEST_READ = 2.0  # seconds of CPU time


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="damaged files a reader")
    parser.add_argument("--readers", default="", help="regular expression for their names")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    arguments = parser.parse_args()
    logging.disable()  # of files that are read with a warning
    print("| reader | refused | read | slowest, ms |\n|---|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        for name, reader in readers(Path(folder)).items():
            if not re.search(arguments.readers, name):
                continue
            refused, longest = feed(reader, arguments.files, arguments.seed, _LONGEST_READ)
            row = f"| {name} | {refused} | {arguments.files - refused} | {1000 * longest:.0f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
