"""`lattgnn lattice square --extent 8 8 --cutoff 2.3`: symmetries and bond orbits, without torch."""

from collections.abc import Sequence
from pathlib import Path

from lattgnn import lattice as lattices
from lattgnn.cli.parser import Parser
from lattgnn.errors import InputError, suggestion
from lattgnn.symmetry import symmetry_table

NAMED = ("chain", "square", "triangular", "honeycomb", "kagome", "lieb", "cubic")
PICTURES = (".png", ".svg", ".pdf")


def main(argv: Sequence[str]) -> None:
    """Print the symmetry table of a named lattice, and draw its bonds if `--plot` is given.

    Args:
        argv: The verb and its options.
    """
    parser = Parser(
        prog="lattgnn lattice",
        description="Print symmetry operations, site groups and orbits of directed bonds.",
    )
    parser.add_argument("name", type=str, help=", ".join(NAMED))
    parser.add_argument(
        "--extent",
        type=int,
        nargs="+",
        default=[8],
        help="unit cells along each axis; one number for all axes",
    )
    parser.add_argument(
        "--open", type=int, nargs="*", default=[], help="axes with open boundaries: 0, 1, 2"
    )
    parser.add_argument(
        "--cutoff",
        type=float,
        default=2.3,
        help="length of the longest bond; nearest neighbors have distance 1",
    )
    parser.add_argument(
        "--plot", type=str, help="file for a picture of the bonds colored by orbit (png, svg, pdf)"
    )
    options = parser.parse_args(list(argv[1:]))

    if options.name not in NAMED:
        advice = suggestion(options.name, NAMED)
        raise InputError(f"name must be a named lattice, got {options.name!r}. {advice}")
    if options.plot is not None and Path(options.plot).suffix not in PICTURES:
        raise InputError(f"plot must end in {', '.join(PICTURES)}, got {options.plot!r}.")
    named_lattice = getattr(lattices, options.name)
    lattice = named_lattice(*options.extent)
    if options.open:
        if not set(options.open) <= set(range(lattice.dim)):
            raise InputError(
                f"open must list axes from {list(range(lattice.dim))}, got {options.open}. Use "
                f"--open 0."
            )
        periodic = [axis not in options.open for axis in range(lattice.dim)]
        lattice = named_lattice(*options.extent, periodic=periodic)
    print(symmetry_table(lattice, options.cutoff), end="")
    if options.plot is not None:
        from lattgnn.report.lattice_plot import plot_lattice

        Path(options.plot).parent.mkdir(parents=True, exist_ok=True)
        plot_lattice(lattice, options.cutoff).savefig(options.plot, dpi=150)
        print(options.plot)
