"""HTML pages that are one file each: templates, number formats, and comparisons of runs."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dhm.report.pictures import Picture, heat_stops

STYLE = Markup(Path(__file__).with_name("page.css").read_text())
"""CSS of every page."""


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Renders a template of this folder and replaces the page in one step."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(_environment().get_template(template).render(values))
    partial.replace(path)


def heat_legend(length: float) -> dict[str, Any]:
    """Returns the ticks and CSS colours of an error map's scale.

    Args:
        length: Its end, mm.
    """
    ticks = [f"{length * share:.3g}" for share in (0, 0.25, 0.5, 0.75, 1)]
    return {"ticks": ticks, "stops": ", ".join(heat_stops())}


class Figure(NamedTuple):
    """Rows of pictures, each row from one camera.

    Attributes:
        title: Heading.
        note: Explanation below the heading.
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
    """Writes a page that compares runs: tables, findings and rows of pictures.

    Args:
        path: The file.
        title: Of the page.
        note: Below the title.
        tables: Each with `title`, `columns` and `rows`, all of them text.
        claims: Findings, as sentences.
        figures: In order.
    """
    values = {
        "title": title, "note": note, "tables": tables, "claims": claims, "figures": figures,
        "style": STYLE,
    }  # fmt: skip
    write_page(path, "comparison.html.jinja", values)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "mm": _mm, "plain": _plain, "data_uri": _data_uri, "breakable": _breakable,
    }  # fmt: skip
    return environment


def _mm(value: float | int | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value or "(empty)"
    return ", ".join(map(str, value)) or "()" if isinstance(value, list) else str(value)


def _breakable(name: str) -> Markup:
    """Allows line breaks after the underscores of a name."""
    return Markup("_<wbr>").join(name.split("_"))


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
