"""One self-contained HTML page: text, tables and pictures, nothing fetched from anywhere."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.report.style import figure_png


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Args:
        columns: headings; empty for a list of names and values.
        rows: cells; numbers are right-aligned and shortened to four digits.
        caption: below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} | ({len(self.columns)} if self.columns else set())
        if len(widths) > 1:
            raise InputError(
                f"rows must all have as many cells as there are columns, got {sorted(widths)}."
            )

    @classmethod
    def of(cls, values: Mapping[str, object], caption: str = "") -> "Table":
        """Names and values; nested mappings are flattened to dotted names."""
        return cls((), list(flatten(values).items()), caption)


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Args:
        heading: its title.
        text: paragraphs separated by an empty line; plain text, escaped.
        content: a picture, a table, or None.
        caption: below a picture.
    """

    heading: str
    text: str = ""
    content: Figure | Table | None = None
    caption: str = ""


def write_report(
    path: str | Path, title: str, sections: Sequence[Section], subtitle: str = ""
) -> Path:
    """Write a report as one HTML file with everything inside; whole or not at all.

    Args:
        path: of the file, usually report.html.
        title: of the page.
        sections: in order.
        subtitle: one line below the title, e.g. the command or the date.

    Returns:
        The path.
    """
    environment = Environment(
        loader=PackageLoader("lattgnn.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"picture": _picture, "cell": format_value, "is_number": _is_number}
    environment.tests |= {
        "figure": lambda x: isinstance(x, Figure),
        "table": lambda x: isinstance(x, Table),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, sections=sections
    )
    atomic_write_text(path, page)
    return path


def format_value(value: object) -> str:
    """A cell as text: four digits, scientific where short, a dash for nothing."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "\u2212")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, list | tuple):
        return ", ".join(format_value(x) for x in value)
    return str(value)


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, with dotted names.

    Args:
        values: the mapping.
        prefix: put before every name.
    """
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _picture(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(figure_png(figure)).decode("ascii")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
