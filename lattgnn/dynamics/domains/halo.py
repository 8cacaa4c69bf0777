"""The exchange of halos between neighboring blocks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from lattgnn.dynamics.domains.domain import Domain
from lattgnn.dynamics.domains.processes import lost_if_it_fails


class HaloExchange:
    """Fills the patch of a process: its block, and the halo from its neighbors.

    Axes are exchanged one after the other, the last one first. The strips of axis 0 then contain
    the halo of axis 1, so that corners arrive without messages of their own.

    Args:
        domain: The domain of this process.
        mesh: The processes, in the shape of `domain.mesh`.
    """

    def __init__(self, domain: Domain, mesh: DeviceMesh) -> None:
        self.domain, self.ranks = domain, mesh.mesh
        self._patch: Tensor | None = None

    def __call__(self, field: Tensor) -> Tensor:
        """The field on the patch; the tensor is used again by the next call.

        Args:
            field: The field on the block, [n_replicas, n_sites, *components].

        Returns:
            The field on the patch, [n_replicas, n_patch_sites, *components].
        """
        domain, n_replicas = self.domain, len(field)
        channels = field[0].numel() // (domain.n_sites // domain.lattice.n_sublattices)
        shape = (n_replicas, *domain.patch.extent, channels)
        patch = self._patch
        if patch is None or (patch.shape, patch.dtype) != (torch.Size(shape), field.dtype):
            with torch.inference_mode(False):
                patch = self._patch = field.new_empty(shape)
        block = field.reshape(n_replicas, *domain.block_extent, channels)
        patch[(slice(None), *domain.core)] = block
        for axis in reversed(range(domain.lattice.dim)):
            if domain.mesh[axis] > 1:
                self._exchange(patch, axis)
        return patch.view(n_replicas, domain.patch.n_sites, *field.shape[2:])

    def n_bytes(self, field: Tensor) -> int:
        """Bytes that this process sends for one call."""
        total, domain = 0, self.domain
        others = field.numel() // domain.n_sites * domain.lattice.n_sublattices
        lengths = [piece.length for piece in domain.pieces]
        for axis in reversed(range(domain.lattice.dim)):
            piece = domain.pieces[axis]
            cells = others
            for other, length in enumerate(lengths):
                cells *= length if other != axis else piece.below + piece.above
            total += cells * field.element_size()
            lengths[axis] = piece.patch_length
        return total

    def _exchange(self, patch: Tensor, axis: int) -> None:
        """Receive the halo along one axis, and send the strips that the neighbors need."""
        piece, width = self.domain.pieces[axis], self.domain.halo[axis]
        first, last = piece.core.start, piece.core.stop
        requests: list[dist.P2POp] = []
        arrived: list[tuple[Tensor, Tensor]] = []
        # Both neighbors can be the same process. Its messages are told apart by their order: what
        # one sends first, the strip at its lower end, the other receives first, above its block.
        if piece.below:
            low = self._strip(patch, axis, first).contiguous()
            requests.append(dist.P2POp(dist.isend, low, self._neighbor(axis, -1)))
        if piece.above:
            high = self._strip(patch, axis, last - width).contiguous()
            requests.append(dist.P2POp(dist.isend, high, self._neighbor(axis, 1)))
            arrived.append(self._receive(requests, self._strip(patch, axis, last), axis, 1))
        if piece.below:
            arrived.append(self._receive(requests, self._strip(patch, axis, 0), axis, -1))
        with lost_if_it_fails():
            for work in dist.batch_isend_irecv(requests):
                work.wait()
        for place, values in arrived:
            place.copy_(values)

    def _strip(self, patch: Tensor, axis: int, start: int) -> Tensor:
        """A strip of the patch, as wide as the halo along an axis.

        Axes before this one are exchanged later: of these only the block is there yet.
        """
        cells = slice(start, start + self.domain.halo[axis])
        return patch[(slice(None), *self.domain.core[:axis], cells)]

    def _receive(
        self, requests: list[dist.P2POp], place: Tensor, axis: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Ask for a strip; the place in the patch, and the tensor that it arrives in."""
        values = torch.empty_like(place, memory_format=torch.contiguous_format)
        requests.append(dist.P2POp(dist.irecv, values, self._neighbor(axis, step)))
        return place, values

    def _neighbor(self, axis: int, step: int) -> int:
        """Number of the next process along an axis."""
        place = list(self.domain.place)
        place[axis] = (place[axis] + step) % self.domain.mesh[axis]
        return int(self.ranks[tuple(place)])
