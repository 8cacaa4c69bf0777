"""`lattgnn check --config data.yaml`: whether a model is what it says, before labels are made."""

import inspect
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from typing import Any

from lattgnn.checks import CheckResult, check_model
from lattgnn.cli.parser import Parser
from lattgnn.cli.physics_verbs import model_parser, parse
from lattgnn.data import generate
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import Solver


def main(argv: Sequence[str]) -> None:
    """Print the results of all checks as a table.

    Args:
        argv: The verb and its options.

    Raises:
        InputError: If a check failed; its line of the table says what to do.
    """
    options = parse(_parser(), argv)
    for name in _ignored():
        options.pop(name)
    results = check(**options)
    print(table(results))
    failed = [result.name for result in results if not result.passed]
    if failed:
        raise InputError(
            f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}. See the table."
        )


def check(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian],
    solver: Solver,
    particle_hole: bool = False,
) -> list[CheckResult]:
    """Check a model for mistakes that give wrong forces without an error message.

    Args:
        lattice: Lattice of the labels. Most checks use a smaller one of the same crystal.
        hamiltonian: The model.
        solver: The electronic ensemble. The checks themselves use exact diagonalization.
        particle_hole: Check also that a field with the opposite sign has the opposite forces, as
            `model.particle_hole` and `odd` of a fit assume.

    Returns:
        The results.
    """
    return check_model(hamiltonian(lattice), solver, particle_hole=particle_hole)


def table(results: Sequence[CheckResult]) -> str:
    """The results as text, one line for each.

    Args:
        results: The results of the checks.

    Returns:
        Lines of columns: verdict, property, violation, bound and message.
    """
    width = max(len(result.name) for result in results)
    lines = [f"{'':6}  {'property':{width}}  violation    bound"]
    for result in results:
        verdict = "ok" if result.passed else "FAILED"
        numbers = f"{result.violation:9.1e}  {result.bound:7.0e}"
        lines.append(f"{verdict:6}  {result.name:{width}}  {numbers}  {result.message}")
    return "\n".join(lines)


def _parser() -> Parser:
    """The parser of `lattgnn check`. It reads the configurations of `lattgnn generate`."""
    parser = model_parser(
        "check",
        "Check a Hamiltonian before its labels are made: its matrix, its forces against "
        "differences of the energy, its bounds, the symmetry of the lattice, the range. Reads the "
        "configuration of `lattgnn generate`. The exit code is 2 if a check fails.",
    )
    parser.add_function_arguments(check)
    for name in _ignored():
        parser.add_argument(f"--{name}", type=Any, help=SUPPRESS)
    return parser


def _ignored() -> list[str]:
    """Options of `lattgnn generate` that have no meaning here."""
    known = inspect.signature(check).parameters
    return [name for name in inspect.signature(generate).parameters if name not in known]
