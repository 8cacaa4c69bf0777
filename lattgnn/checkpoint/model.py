"""Networks and their models, loaded from checkpoints and saved to them."""

from pathlib import Path

import torch

from lattgnn.checkpoint.checks import check_lattice, check_network
from lattgnn.checkpoint.contents import load_checkpoint, restore_weights
from lattgnn.checkpoint.header import checkpoint_header, field_statistics, read_header
from lattgnn.devices import usable_device
from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.files import atomic_file
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.pretrained import find_checkpoint
from lattgnn.serialize import build, describe
from lattgnn.solvers import Solver
from lattgnn.trust import Trust, reading


def load_model(
    path: str | Path,
    lattice: Lattice | None = None,
    device: str | torch.device = "cpu",
    trust: Trust = (),
) -> tuple[ForceNetwork, Hamiltonian, Solver, FieldStatistics | None]:
    """The network of a checkpoint with its weights, the Hamiltonian on a lattice, and the solver.

    The last entry holds the statistics of the training fields. It is None if the file has none.

    Args:
        path: The checkpoint file.
        lattice: The lattice to be simulated: that of the training with any extent. None uses the
            extent of the training.
        device: Device of the network.
        trust: Modules that the file may import besides those that every file may, see
            `lattgnn.trust`.

    Raises:
        InputError: If the file is not a checkpoint or has an unknown format version, its weights
            do not fit the network, the network was trained on another lattice, the file names a
            module that is not trusted, or the device cannot be used.
    """
    place = usable_device(device)
    checkpoint = load_checkpoint(path)
    with reading(path, trust):
        header = read_header(checkpoint, path)
        trained_on = build(header["lattice"], Lattice)
    lattice = trained_on if lattice is None else lattice
    check_lattice(header, lattice, path)
    with reading(path, trust):
        net = build(header["net"], ForceNetwork, lattice)
        restore_weights(net, checkpoint, path)
        solver = build(header["solver"], Solver)
        hamiltonian = build(header["hamiltonian"], Hamiltonian, lattice)
        return net.to(place), hamiltonian, solver, field_statistics(header, path)


def save_model(
    path: str | Path,
    net: ForceNetwork,
    hamiltonian: Hamiltonian,
    solver: Solver,
    statistics: FieldStatistics | None = None,
) -> None:
    """Write a checkpoint of weights and header, without the training state.

    Args:
        path: The file, which appears only when it is complete.
        net: The network.
        hamiltonian: The Hamiltonian on the lattice of the network.
        solver: The solver that computed the labels.
        statistics: Statistics of the training fields, if they are known.
    """
    # `lattgnn fit` saves the network as the attribute `net` of a Lightning module.
    weights = {f"net.{key}": value for key, value in net.state_dict().items()}
    header = checkpoint_header(net, hamiltonian, solver, statistics)
    with atomic_file(path) as temporary:
        torch.save({"lattgnn": header, "state_dict": weights}, temporary)


def load_weights(name: str | Path, net: ForceNetwork, hamiltonian: Hamiltonian) -> None:
    """Load the weights of a checkpoint into a network, as the start of another fit.

    The Hamiltonian may have other parameters than that of the checkpoint. Of the network, only the
    numbers that follow from them may differ: the bound of the force and the coupling to the
    density.

    Args:
        name: The checkpoint file, or the name of a shipped force field.
        net: The network.
        hamiltonian: The Hamiltonian of the new fit, on its lattice.

    Raises:
        InputError: If the checkpoint holds another network, or was trained on another lattice or
            for another class of Hamiltonian.
    """
    path = find_checkpoint(name)
    checkpoint = load_checkpoint(path)
    header = read_header(checkpoint, path)
    check_lattice(header, hamiltonian.lattice, path)
    wanted, found = describe(hamiltonian)["class_path"], header["hamiltonian"]["class_path"]
    if wanted != found:
        raise InputError(f"{path} must be trained for {wanted}, got one for {found}.")
    check_network(header, net, path, free=("force_bound", "density_coupling"))
    restore_weights(net, checkpoint, path)
