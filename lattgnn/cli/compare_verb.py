"""`lattgnn compare RUN RUN ...`: fits side by side."""

from collections.abc import Sequence
from pathlib import Path

from lattgnn.cli.parser import Parser


def main(argv: Sequence[str]) -> None:
    """Print a table of fits; with `--out`, write it and the overlaid curves.

    Args:
        argv: The verb and its options.
    """
    parser = Parser(
        prog="lattgnn compare", description="Compare fits: cost, errors and curves of each run."
    )
    parser.add_argument("runs", type=str, nargs="+", help="folders written by `lattgnn fit`")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="folder for report.html, comparison.csv and the curves as PNG and PDF",
    )
    options = parser.parse_args(list(argv[1:]))

    from lattgnn.report import compare_fits  # matplotlib only where something is drawn

    print(compare_fits(options.runs, options.out))
    if options.out is not None:
        print(Path(options.out) / "report.html")
