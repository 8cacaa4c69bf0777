from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from lattgnn.report import Section, Table, loss_curves, write_report
from lattgnn.report.page import flatten, format_value


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_page_holds_everything(tmp_path):
    sections = [
        Section(
            "Loss",
            "First.\n\nSecond.",
            loss_curves([0, 1], {"training": [1.0, 0.1]}),
            "What is seen.",
        ),
        Section(
            "Errors",
            "",
            Table(("window", "MSE"), [("0–40", 1.234567e-4), ("random", None)], "In t²."),
        ),
        Section(
            "Configuration",
            content=Table.of({"lattice": {"extent": [8, 8]}, "name": "<script>alert(1)</script>"}),
        ),
        Section("Words only", "A < B & C"),
    ]
    path = write_report(
        tmp_path / "deep" / "report.html", "Report", sections, subtitle="made by a test"
    )
    page = Page(path.read_text(encoding="utf-8"))
    sources = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,iVBOR")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    values = [str(value) for _, attrs in page.tags for value in attrs.values()]
    links = [value for value in values if "http" in value and not value.startswith("data:")]
    assert links == [], "nothing is fetched"
    for text in (
        "0.0001235",
        "–",
        "lattice.extent",
        "8, 8",
        "A < B & C",
        "<script>alert(1)</script>",
        "In t².",
    ):
        assert text in page.text
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == ["#s1", "#s2", "#s3", "#s4"]


def test_a_failing_report_leaves_the_old_one(tmp_path, monkeypatch):
    def fail(figure):
        raise RuntimeError("out of ink")

    monkeypatch.setattr("lattgnn.report.page.figure_png", fail)
    path = write_report(tmp_path / "report.html", "Old", [Section("A")])
    with pytest.raises(RuntimeError, match="ink"):
        write_report(path, "New", [Section("A"), Section("B", content=Figure())])
    assert "Old" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_values():
    assert format_value(1234567) == "1\u202f234\u202f567"
    assert format_value(-0.00012345678) == "\u22120.0001235"
    assert format_value(True) == "True"
    assert format_value(float(np.nan)) == "–"
    assert flatten({"a": {"b": 1, "c": {"d": 2}}}) == {"a.b": 1, "a.c.d": 2}
    with pytest.raises(ValueError, match="one cell per column"):
        Table(("a", "b"), [(1, 2), (1,)])
