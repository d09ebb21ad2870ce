"""Rebuilds the studio's template files: `python -m data_prep.studio.template`.

They replace the files in data_prep/studio/template/assets.
"""

import argparse
import sys

from data_prep.command import run
from data_prep.studio.template.hand_template import (
    FOLDER,
    GRID_MM,
    build_template,
    template_file,
)
from dhm.formats.hand_template import write_template


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line, which has no flags.

    Returns:
        The exit code, see `data_prep.command`.
    """
    argparse.ArgumentParser(prog="data_prep.studio.template", description=__doc__).parse_args(
        arguments
    )
    return run(_rebuild)


def _rebuild() -> None:
    FOLDER.mkdir(exist_ok=True)
    for kind in GRID_MM:
        template, file = build_template(kind), template_file(kind)
        write_template(file, template)
        size = file.stat().st_size / 1e6
        print(f"{file.name}: {template.num_vertices} vertices, {size:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
