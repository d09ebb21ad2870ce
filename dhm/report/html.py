"""What the pages share: one file that needs nothing else, its style, numbers and pictures."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dhm.report.figures import heat_stops

STYLE = Markup(Path(__file__).with_name("page.css").read_text())
"""CSS of every page."""


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Fills a template of this folder in and writes the page, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(_environment().get_template(template).render(values))
    partial.replace(path)


def heat_legend(length: float) -> dict[str, Any]:
    """Ticks and CSS colours of an error map's scale.

    Args:
        length: Its end, mm.
    """
    ticks = [f"{length * share:.3g}" for share in (0, 0.25, 0.5, 0.75, 1)]
    return {"ticks": ticks, "stops": ", ".join(heat_stops())}


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
    """A name that a narrow page may break after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
