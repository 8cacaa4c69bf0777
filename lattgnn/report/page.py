"""A self-contained HTML page of text, tables and pictures, which loads nothing from elsewhere."""

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
        columns: Headings. Empty for a list of names and values.
        rows: Cells. Numbers are right-aligned and rounded to four digits.
        caption: Text below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} | ({len(self.columns)} if self.columns else set())
        if len(widths) > 1:
            raise InputError(
                f"rows must have one cell per column, got lengths {sorted(widths)}. Fill the "
                f"missing cells."
            )

    @classmethod
    def of(cls, values: Mapping[str, object], caption: str = "") -> "Table":
        """Make a table of names and values; nested mappings get dotted names.

        Args:
            values: The names and values.
            caption: Text below the table.
        """
        return cls((), list(flatten(values).items()), caption)


@dataclass(frozen=True)
class Movie:
    """A moving picture of a report, which is embedded in the page.

    Args:
        path: A file that ends in .webp, .gif or .mp4.
    """

    path: Path

    @property
    def media_type(self) -> str:
        """The media type, such as image/webp."""
        return {".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4"}[self.path.suffix]


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Args:
        heading: Title of the section.
        text: Paragraphs of plain text, separated by empty lines.
        content: A picture, a movie, a table, or None.
        caption: Text below a picture or movie.
    """

    heading: str
    text: str = ""
    content: Figure | Table | Movie | None = None
    caption: str = ""


def write_report(
    path: str | Path, title: str, sections: Sequence[Section], subtitle: str = ""
) -> Path:
    """Write a report as one HTML file that contains its pictures.

    Args:
        path: The file, usually report.html.
        title: Title of the page.
        sections: The sections in order.
        subtitle: A line below the title, such as the command or the date.

    Returns:
        The path.
    """
    environment = Environment(
        loader=PackageLoader("lattgnn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "picture": _picture,
        "movie": _movie,
        "cell": format_value,
        "is_number": _is_number,
    }
    environment.tests |= {
        "figure": lambda x: isinstance(x, Figure),
        "table": lambda x: isinstance(x, Table),
        "movie": lambda x: isinstance(x, Movie),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, sections=sections
    )
    atomic_write_text(path, page)
    return path


def format_value(value: object) -> str:
    """Format a cell as text: floats with four digits, a dash for None and NaN.

    Args:
        value: Content of the cell.

    Returns:
        The text.
    """
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
    """Flatten nested mappings into one with dotted names.

    Args:
        values: The mapping.
        prefix: Text before every name.

    Returns:
        The flat mapping, in the same order.
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


def _movie(movie: Movie) -> str:
    content = base64.b64encode(movie.path.read_bytes()).decode("ascii")
    return f"data:{movie.media_type};base64,{content}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
