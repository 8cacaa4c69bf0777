"""Whether a checkpoint or a network belongs to a Hamiltonian, a lattice and another network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.serialize import build, config_differences, describe, in_words
from lattgnn.symmetry import field_representation


def check_hamiltonian(
    header: dict[str, Any], hamiltonian: Hamiltonian, name: str | Path = "checkpoint"
) -> None:
    """Refuse a checkpoint of another Hamiltonian; parameters of the classical energy may differ.

    Raises:
        InputError: If the Hamiltonian of the header has another class or other parameters.
    """
    differences = config_differences(header["hamiltonian"], describe(hamiltonian))
    free = {f"init_args.{name}" for name in hamiltonian.classical_parameters}
    if not differences.keys() <= free:
        raise InputError(
            f"{name} must belong to the chosen Hamiltonian, {in_words(describe(hamiltonian))}, got "
            f"one trained for {in_words(header['hamiltonian'])}. Use its Hamiltonian, or train on "
            "this one."
        )


def check_lattice(
    header: dict[str, Any], lattice: Lattice, name: str | Path = "checkpoint"
) -> None:
    """Refuse a checkpoint of another lattice; the extent may differ.

    Raises:
        InputError: If the crystals differ.
    """
    trained_on = build(header["lattice"], Lattice)
    if lattice.cell != trained_on.cell:
        raise InputError(
            f"lattice must be the one that {name} was trained on, {trained_on.name}, got "
            f"{lattice.name}. Any extent of that lattice works, with its labels of sites and bonds."
        )


def check_network(
    header: dict[str, Any],
    net: ForceNetwork,
    name: str | Path = "checkpoint",
    free: Sequence[str] = (),
) -> None:
    """Refuse a checkpoint of another network.

    Args:
        header: The header of the checkpoint.
        net: The configured network.
        name: How a message calls the checkpoint.
        free: Arguments that may differ, by their last names.

    Raises:
        InputError: If the class or another argument differs.
    """
    differences = config_differences(header["net"], describe(net))
    texts = []
    for key, (old, new) in differences.items():
        short = key.removeprefix("init_args.").replace(".init_args", "")
        if short.rpartition(".")[2] not in free:
            texts.append(f"{short} {old!r}, not {new!r}")
    if texts:
        raise InputError(
            f"{name} must hold the configured network, but it has {'; '.join(texts)}. Use its "
            "configuration."
        )


def check_field_type(net: ForceNetwork, hamiltonian: Hamiltonian) -> None:
    """Refuse a network made for another kind of field than the Hamiltonian's.

    Raises:
        InputError: If the components of the field differ in number or in how they transform.
    """
    cell, wanted, found = hamiltonian.lattice.cell, hamiltonian.field_type, net.field_type
    name = type(hamiltonian).__name__
    if wanted.is_spin and found.is_spin and wanted.coupled_by != found.coupled_by:
        term = wanted.coupled_by or found.coupled_by
        text = "couples spin and space, but the network rotates spins apart from the lattice"
        if not wanted.coupled_by:
            text = "is missing, but the network was made for spins that turn with the lattice"
        raise InputError(
            f"the term {term} of {name} {text}. Make the network with hamiltonian.field_type."
        )
    if wanted.is_spin and wanted.reversed_by and not found.reversed_by:
        raise InputError(
            f"the term {wanted.reversed_by} of {name} changes under S → −S, but the network does"
            " not. Use an exact force field."
        )
    # Two texts can name the same representation, as "E" and "vector" do on the square lattice, so
    # the representations are compared, not the texts.
    representations = [field_representation(cell, kind.representation) for kind in (wanted, found)]
    same = representations[0] == representations[1]
    if not same or (wanted.is_spin, wanted.n_components) != (found.is_spin, found.n_components):
        raise InputError(
            f"field_type of {type(net).__name__} must be that of {name} on "
            f"{hamiltonian.lattice.name}, {wanted}, got {found}. Make the network with "
            "hamiltonian.field_type."
        )
