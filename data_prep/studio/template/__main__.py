"""Rebuilds the studio's template files: `python -m data_prep.studio.template`."""

from data_prep.studio.template.hand_template import main

main()
