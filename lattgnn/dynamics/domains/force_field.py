"""The force field of a run over many processes, as one of them sees it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from lattgnn.dynamics.domains.domain import Domain, cut
from lattgnn.dynamics.domains.halo import HaloExchange
from lattgnn.dynamics.domains.processes import Processes
from lattgnn.dynamics.langevin_kernels import SiteRows
from lattgnn.lattice import Lattice


@runtime_checkable
class PatchForces(Protocol):
    """What a domain needs from a force field on its patch (`lattgnn.patch_forces`)."""

    @property
    def hamiltonian(self) -> Any:
        """The model on the patch."""
        ...

    @property
    def field_statistics(self) -> Any:
        """Statistics of the training fields, None if there are none."""
        ...

    def prepare(self) -> None:
        """Build what the first call would build."""
        ...

    def forces(self, field: Tensor, out: Tensor) -> Tensor:
        """Forces of fields on the patch [n_replicas, n_patch_sites, ...], right in the block.

        They may be written to `out`, which is like the field.
        """
        ...

    def energy(self, field: Tensor) -> Tensor | None:
        """Energy of the block, float64 [n_replicas], or None if the forces have no energy."""
        ...


class DomainForceField:
    """Forces on the block of a process: the halo arrives, and the patch is evaluated.

    It is a `ForceField` whose fields are those of the block. Calls give no energy; `energy` adds up
    that of all blocks, for the frames that are saved. All processes must call it together.

    Args:
        domain: The domain of this process.
        local: The forces on its patch.
        processes: All processes.
        device: Type of the device of the fields.
    """

    writes_in_place = True

    def __init__(
        self, domain: Domain, local: PatchForces, processes: Processes, device: str = "cpu"
    ) -> None:
        self.domain, self.local, self.processes = domain, local, processes
        self._workspace: Tensor | None = None
        names = tuple(f"axis_{axis}" for axis in range(domain.lattice.dim))
        self.exchange = HaloExchange(
            domain, init_device_mesh(device, domain.mesh, mesh_dim_names=names)
        )

    @property
    def lattice(self) -> Lattice:
        """The whole lattice."""
        return self.domain.lattice

    @property
    def hamiltonian(self) -> Any:
        """The model, on the patch."""
        return self.local.hamiltonian

    @property
    def field_statistics(self) -> Any:
        """Statistics of the training fields, None if there are none."""
        return self.local.field_statistics

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of the field on the block."""
        return (self.domain.n_sites, *self.local.hamiltonian.field_shape[1:])

    @property
    def first_site(self) -> SiteRows:
        """The sites of the block, for the noise."""
        return self.domain.rows

    def prepare(self) -> None:
        """Build what the first call would build, and wait for the others to do so."""
        self.local.prepare()
        self.processes.meet()

    def warm_start(self) -> AbstractContextManager[None]:
        """Nothing is remembered from call to call."""
        return nullcontext()

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[None, Tensor]:
        """Forces on the block.

        Args:
            field: The field on the block, [n_replicas, *field_shape].
            out: Tensor that receives the forces.

        Returns:
            None in place of the energy, and the forces.
        """
        patch = self.exchange(field)
        workspace = self._workspace
        if workspace is None or (workspace.shape, workspace.dtype) != (patch.shape, patch.dtype):
            workspace = self._workspace = torch.empty_like(patch)
        forces = self.local.forces(patch, workspace)
        out = torch.empty_like(field) if out is None else out
        return None, self.domain.copy_block(forces, out)

    def energy(self, field: Tensor) -> Tensor | None:
        """Energy of the whole lattice in the dtype of the field, [n_replicas], or None.

        Args:
            field: The field on the block.
        """
        part = self.local.energy(self.exchange(field))
        return None if part is None else self.processes.sum(part).to(field)

    def largest_of_all(self, values: Tensor) -> Tensor:
        """Largest values over all processes, by which runaway fields are found."""
        return self.processes.largest(values)


def domain_of(
    processes: Processes,
    lattice: Lattice,
    halo: Sequence[int],
    unit: Sequence[int] | None = None,
    cuts: Sequence[int] | None = None,
) -> Domain:
    """The domain of this process; see `lattgnn.dynamics.domains.cut`.

    Args:
        processes: All processes.
        lattice: The whole lattice.
        halo: Cells along each axis that the force on a site depends on.
        unit: Blocks are multiples of this number of cells along each axis.
        cuts: Number of processes along the first axes.
    """
    return cut(lattice, processes.size, halo, unit, cuts).of(processes.rank)
