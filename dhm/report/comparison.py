"""Several runs on one HTML page: tables, findings and rows of pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dhm.report.figures import Picture
from dhm.report.html import STYLE, write_page

_TEMPLATE = "comparison.html.jinja"


class Figure(NamedTuple):
    """Rows of pictures, each from one camera.

    Attributes:
        title: What it compares.
        note: How to read it.
        scale: From `heat_legend`; None without error maps.
        rows: Name and pictures of each.
    """

    title: str
    note: str
    scale: Mapping[str, Any] | None
    rows: list[tuple[str, list[Picture]]]


def write_comparison(
    path: Path,
    title: str,
    note: str,
    *,
    tables: Sequence[Any],
    claims: Sequence[str],
    figures: Sequence[Figure],
) -> None:
    """Writes the page.

    Args:
        path: The file.
        title: Of the page.
        note: Below it.
        tables: Each with `title`, `columns` and `rows`, all of them text.
        claims: Sentences.
        figures: In their order.
    """
    values = {
        "title": title, "note": note, "tables": tables, "claims": claims, "figures": figures,
        "style": STYLE,
    }  # fmt: skip
    write_page(path, _TEMPLATE, values)
