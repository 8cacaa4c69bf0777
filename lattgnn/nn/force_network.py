"""What every force network offers, whatever is inside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.lattice import Lattice


class ForceNetwork(nn.Module, ABC):
    """A network from fields to electronic energy and forces, on any extent of one lattice.

    A subclass is made by ``Net(lattice, force_bound, **hyperparameters)``; it may use the lattice's symmetry
    but not its extent.
    """

    hyperparameters: Mapping[str, Any]
    """Arguments that rebuild the network, the lattice left out; a checkpoint stores them."""

    field: str = "trivial"
    """How the field transforms that the network was made for, as `lattgnn.lattice.field_representation` reads
    it; must be the Hamiltonian's `representation`."""

    internal: str = ""
    """What its components are in a space of their own, "spin" or ""; must be the Hamiltonian's `internal`."""

    @abstractmethod
    def graph(self, lattice: Lattice) -> Any:
        """What ``forward`` needs to know of a lattice, in this network's dtype and on its device."""

    @abstractmethod
    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: Any
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None where the network has none) and forces −∂E/∂field."""
