"""Rebuilds the studio's template files: `python -m data_prep.studio.template`."""

from data_prep.studio.template.hand_template import (
    FOLDER,
    GRID_MM,
    build_template,
    template_file,
)
from dhm.formats.hand_template import write_template

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for kind in GRID_MM:
        template, file = build_template(kind), template_file(kind)
        write_template(file, template)
        size = file.stat().st_size / 1e6
        print(f"{file.name}: {template.num_vertices} vertices, {size:.2f} MB")
