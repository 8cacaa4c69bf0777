"""Frames that many processes write together, and read again in any number of processes.

Each chunk of an array is written by one process. In a new run, the chunks are the rows of cells of
one row of processes. If a run is continued by another number of processes, a chunk can lie on
several of them, and the others send their parts to the one that writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lattgnn.dynamics.domains.domain import Domain
from lattgnn.dynamics.domains.force_field import DomainForceField
from lattgnn.dynamics.domains.processes import lost_if_it_fails
from lattgnn.dynamics.state import State
from lattgnn.dynamics.store import FrameWriter, kinetic_energy, restart_state
from lattgnn.dynamics.trajectory import Trajectory


@dataclass(frozen=True)
class DomainFrameWriter(FrameWriter):
    """Writes the frames of a run; all processes call it together.

    The step of a frame is written last, by the first process, when all others have written their
    parts. A frame that has a step is therefore complete.

    Attributes:
        force_field: The force field of this process.
    """

    force_field: DomainForceField | None = None

    def write(self, frame: int, state: State) -> None:
        """Write the parts of a frame, and its step last."""
        assert self.force_field is not None
        processes, domain = self.force_field.processes, self.force_field.domain
        arrays = self.trajectory.arrays
        for name in ("field", "momentum", "forces"):
            _write(arrays[name], frame, getattr(state, name), domain)
        sums = {}
        if "energy" in arrays:
            sums["energy"] = self.force_field.energy(state.field)
        if self.mass is not None:
            own = kinetic_energy(state, self.mass)
            sums["kinetic_energy"] = processes.sum(own.flatten()).view(own.shape)
        if processes.is_first:
            for name, values in sums.items():
                arrays[name][frame] = values.cpu().numpy()
        processes.meet()
        if processes.is_first:
            self.finish(frame, state.step)

    def restart_state(self, before: int, state: State) -> tuple[int, State]:
        """The last saved state before a frame, and its frame; each process reads its block."""
        assert self.force_field is not None
        processes, domain = self.force_field.processes, self.force_field.domain
        frame = None
        if processes.is_first:
            frame, _ = restart_state(self.trajectory, before, torch.device("cpu"))
        frame = processes.share(frame)
        names = ("field", "momentum", "forces")
        tensors = {name: read_block(self.trajectory, name, frame, domain) for name in names}
        moved = {name: tensor.to(state.field.device) for name, tensor in tensors.items()}
        step = int(self.trajectory.steps[frame])
        return frame, replace(state, **moved, energy=None, step=step)


def start_sha256(state: State, domain: Domain, with_forces: bool) -> str | None:
    """SHA-256 of the whole initial field and momentum in the first process, None in the others.

    It is that of a run in one process, and needs the memory of some rows only.

    Args:
        state: The initial state on the block.
        domain: The domain of this process.
        with_forces: Whether the forces are part of it.
    """
    digest = hashlib.sha256()
    for tensor in (state.field, state.momentum, *([state.forces] if with_forces else [])):
        for replica in tensor:
            for first, last in _slabs(domain):
                values = _assemble(replica, domain, first, last, owner=0)
                if values is not None:
                    digest.update(values.tobytes())
    return digest.hexdigest() if domain.rank == 0 else None


def read_block(trajectory: Trajectory, name: str, frame: int, domain: Domain) -> Tensor:
    """The block of one array of a frame, [n_replicas, n_sites, *components].

    Args:
        trajectory: The run.
        name: "field", "momentum" or "forces".
        frame: Index of the frame.
        domain: The domain of this process.

    Raises:
        InputError: If the frame is damaged.
    """
    frames, piece = trajectory.frames(name), domain.pieces[0]
    n_replicas, components = frames.shape[1], frames.shape[3:]
    # Rows of cells along axis 0 are consecutive sites; of these the block has some columns.
    sites = slice(piece.start * domain.sites_of_row, piece.stop * domain.sites_of_row)
    columns = tuple(slice(p.start, p.stop) for p in domain.pieces[1:])
    blocks = []
    for replica in range(n_replicas):
        values = frames[frame, replica, sites]
        cells = values.reshape(piece.length, *domain.lattice.extent[1:], -1)
        block = cells[(slice(None), *columns)]
        blocks.append(block.reshape(domain.n_sites, *components))
    return torch.from_numpy(np.stack(blocks))


def rows_per_chunk(domain: Domain) -> int:
    """Sites of a chunk of a new run: those of the smallest row of blocks."""
    return domain.sites_of_row * min(last - first for first, last in _slabs(domain))


def _slabs(domain: Domain) -> Iterator[tuple[int, int]]:
    """First cell along axis 0, and the one after the last, of each row of processes."""
    n_columns = domain.mesh[1] if domain.lattice.dim > 1 else 1
    for row in range(domain.mesh[0]):
        piece = domain.of(row * n_columns).pieces[0]
        yield piece.start, piece.stop


def _write(array: Any, frame: int, values: Tensor, domain: Domain) -> None:
    """Write the chunks of one array of a frame."""
    n_rows = array.chunks[2] // domain.sites_of_row
    n_columns = domain.mesh[1] if domain.lattice.dim > 1 else 1
    slabs = list(_slabs(domain))
    for replica, part in enumerate(values):
        for first in range(0, domain.lattice.extent[0], n_rows):
            last = min(first + n_rows, domain.lattice.extent[0])
            # The process whose block has the first row, in the first column, writes the chunk.
            row = next(k for k, slab in enumerate(slabs) if slab[0] <= first < slab[1])
            whole = _assemble(part, domain, first, last, owner=row * n_columns)
            if whole is not None:
                sites = slice(first * domain.sites_of_row, last * domain.sites_of_row)
                array[frame, replica, sites] = whole.reshape(-1, *array.shape[3:])


def _assemble(part: Tensor, domain: Domain, first: int, last: int, owner: int) -> np.ndarray | None:
    """Collect rows of cells [first, last) of one replica in one process.

    All processes call it together, in the same order.

    Args:
        part: Values on the block, [n_sites, *components].
        domain: The domain of this process.
        first: First cell along axis 0.
        last: Cell after the last one.
        owner: Number of the process that gets the values.

    Returns:
        [last − first, *other cells, channels] in the owner, None in the others.
    """
    own = part.detach().cpu().reshape(*domain.block_extent, -1)
    is_owner, whole = domain.rank == owner, None
    if is_owner:
        whole = own.new_empty(last - first, *domain.lattice.extent[1:], own.shape[-1])
    for rank in range(int(np.prod(domain.mesh))):
        pieces = domain.of(rank).pieces
        start, stop = max(first, pieces[0].start), min(last, pieces[0].stop)
        if start >= stop or (not is_owner and rank != domain.rank):
            continue
        columns = tuple(slice(p.start, p.stop) for p in pieces[1:])
        if rank == domain.rank:
            rows = own[start - pieces[0].start : stop - pieces[0].start].contiguous()
            if not is_owner:
                with lost_if_it_fails():
                    dist.send(rows, owner)
                continue
        else:
            rows = own.new_empty(stop - start, *(p.length for p in pieces[1:]), own.shape[-1])
            with lost_if_it_fails():
                dist.recv(rows, rank)
        assert whole is not None
        whole[(slice(start - first, stop - first), *columns)] = rows
    return None if whole is None else whole.numpy()
