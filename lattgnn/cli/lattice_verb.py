"""`lattgnn lattice square --extent 8 8 --cutoff 2.3`: what symmetry says about a lattice, without torch."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from lattgnn import lattice as lattices
from lattgnn.cli.parser import Parser
from lattgnn.errors import InputError
from lattgnn.symmetry import symmetry_table

NAMED = ("chain", "square", "triangular", "honeycomb", "kagome", "lieb", "cubic")


def main(argv: Sequence[str]) -> None:
    """Print the symmetry table of a named lattice, and draw it if asked."""
    parser = Parser(
        prog="lattgnn lattice", description="Operations, site groups and orbits of directed bonds."
    )
    parser.add_argument("name", type=str, help=", ".join(NAMED))
    parser.add_argument(
        "--extent", type=int, nargs="+", default=[8], help="cells along each axis, or for all"
    )
    parser.add_argument(
        "--open", type=int, nargs="*", default=[], help="axes with an open boundary: 0, 1, 2"
    )
    parser.add_argument(
        "--cutoff", type=float, default=2.3, help="longest bond; nearest neighbours are at 1"
    )
    parser.add_argument(
        "--plot", type=str, help="picture to write (png, svg, pdf): bonds coloured by orbit"
    )
    asked = parser.parse_args(list(argv[1:]))

    if asked.name not in NAMED:
        close = difflib.get_close_matches(asked.name, NAMED, n=1)
        advice = f"Did you mean {close[0]!r}?" if close else f"Use one of {', '.join(NAMED)}."
        raise InputError(f"name must be a named lattice, got {asked.name!r}. {advice}")
    lattice = getattr(lattices, asked.name)(*asked.extent)
    if asked.open:
        if not set(asked.open) <= set(range(lattice.dim)):
            raise InputError(
                f"open must name axes of {list(range(lattice.dim))}, got {asked.open}."
            )
        lattice = getattr(lattices, asked.name)(
            *asked.extent, periodic=[axis not in asked.open for axis in range(lattice.dim)]
        )
    print(symmetry_table(lattice, asked.cutoff))
    if asked.plot is not None:
        from lattgnn.report.lattice_plot import plot_lattice

        Path(asked.plot).parent.mkdir(parents=True, exist_ok=True)
        plot_lattice(lattice, asked.cutoff).savefig(asked.plot, dpi=150)
        print(asked.plot)
