"""`lattgnn lattice square --extent 8 8 --cutoff 2.3`: symmetries and bond orbits, without torch."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from lattgnn.cli.parser import Parser
from lattgnn.errors import InputError, suggestion
from lattgnn.lattice import Lattice
from lattgnn.serialize import build
from lattgnn.symmetry import symmetry_table

NAMED = (
    *("chain", "square", "triangular", "honeycomb", "kagome", "lieb", "cubic"),
    *("staggered_square", "brick_wall", "shastry_sutherland"),
)
PICTURES = (".png", ".svg", ".pdf")


def main(argv: Sequence[str]) -> None:
    """Print the symmetry table of a lattice, and draw its bonds if `--plot` is given.

    Args:
        argv: The verb and its options.
    """
    parser = Parser(
        prog="lattgnn lattice",
        description="Print symmetry operations, site groups and orbits of directed bonds.",
    )
    parser.add_argument("name", type=str, help=f"{', '.join(NAMED)}, or package.function")
    parser.add_argument(
        "--extent",
        type=int,
        nargs="+",
        default=[8],
        help="unit cells along each axis; for named lattices one number may stand for all axes",
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

    if options.plot is not None and Path(options.plot).suffix not in PICTURES:
        name = Path(options.plot).with_suffix(PICTURES[0])
        raise InputError(
            f"plot must end in {', '.join(PICTURES)}, got {options.plot!r}. Use {str(name)!r}."
        )
    lattice = _lattice(options.name, options.extent, options.open)
    print(symmetry_table(lattice, options.cutoff), end="")
    if options.plot is not None:
        from lattgnn.report.lattice_plot import plot_lattice

        Path(options.plot).parent.mkdir(parents=True, exist_ok=True)
        plot_lattice(lattice, options.cutoff).savefig(options.plot, dpi=150)
        print(options.plot)


def _lattice(name: str, extent: list[int], open_axes: list[int]) -> Lattice:
    """The lattice of a name, or of a function of the user's.

    Raises:
        InputError: If there is no such lattice, or an axis does not exist.
    """
    if "." not in name and name not in NAMED:
        raise InputError(
            f"name must be a named lattice, got {name!r}. {suggestion(name, NAMED)} For a lattice"
            " of your own use package.function."
        )
    path = name if "." in name else f"lattgnn.lattice.{name}"
    try:
        import_module(path.rpartition(".")[0])
    except ImportError as error:
        raise InputError(
            f"{name} cannot be imported ({error}). Put the folder of its file on PYTHONPATH."
        ) from error
    lattice = build({"class_path": path, "init_args": {"extent": extent}}, Lattice)
    if not set(open_axes) <= set(range(lattice.dim)):
        raise InputError(
            f"open must list axes from {list(range(lattice.dim))}, got {open_axes}. Use --open 0."
        )
    if not open_axes:
        return lattice
    return replace(lattice, periodic=tuple(axis not in open_axes for axis in range(lattice.dim)))
