"""The processes of one run: how they find each other, wait for each other, and stop together.

`torchrun` starts them and tells each its number. They exchange fields by torch.distributed (gloo on
CPUs, NCCL on GPUs). Small messages go through its key-value store, which outlives a process: there
a process that fails says why, before the others notice that it is gone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from lattgnn.errors import StoppedRunError

#: Environment variable: seconds after which a message that does not arrive ends the run.
TIMEOUT = "LATTGNN_PROCESS_TIMEOUT"
_DEFAULT_TIMEOUT = 60.0
#: First and longest pause between two looks at the store, in seconds.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.1


class LostProcessError(StoppedRunError):
    """Another process of the run has stopped, so that this one cannot go on."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has stopped, so all stop. What is complete is kept; "
            "repeat the command to continue."
        )


@dataclass
class Processes:
    """All processes of a run, seen from one of them.

    Attributes:
        store: Key-value store that all of them reach.
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    store: dist.Store
    rank: int
    size: int
    _n_meetings: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints, and that writes what is not a part."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait until all processes are here, however long one of them takes.

        Raises:
            LostProcessError: If another process has failed.
        """
        key = self._next_key()
        self.store.add(key, 1)
        self._wait_until(lambda: self.store.add(key, 0) >= self.size)

    def share(self, value: Any = None) -> Any:
        """The value that the first process gives, in all processes.

        Args:
            value: Plain JSON types. Those of other processes are ignored.

        Raises:
            LostProcessError: If another process has failed.
        """
        key = self._next_key()
        if self.is_first:
            self.store.set(key, json.dumps(value))
            return value
        self._wait_until(lambda: self.store.check([key]))
        return json.loads(self.store.get(key))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over all processes, added in the order of their numbers.

        Args:
            values: Numbers of this process, [n].

        Returns:
            The sums in all processes, float64 on the CPU; their bits do not depend on the network.
        """
        mine = values.detach().to("cpu", torch.float64)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with lost_if_it_fails():
            dist.all_gather(found, mine)
        return torch.stack(found).cumsum(0)[-1]

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """Largest values over all processes; NaN wins.

        Args:
            values: Numbers of this process, [n], on any device.
        """
        mine = values.detach().to("cpu", torch.float64)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with lost_if_it_fails():
            dist.all_gather(found, mine)
        return torch.stack(found).amax(0).to(values)  # the maximum of torch keeps NaN

    def failure(self, seconds: float = 0.0) -> tuple[str, int] | None:
        """What a failed process has said, and its exit code.

        Args:
            seconds: How long to wait for it.
        """
        end = time.monotonic() + seconds
        while not self.store.check(["failure"]):
            if time.monotonic() >= end:
                return None
            time.sleep(_LONGEST_PAUSE)
        message, code = json.loads(self.store.get("failure"))
        return message, code

    def say_failure(self, message: str, code: int) -> None:
        """Tell the others why this process stops, unless another one has failed before.

        Args:
            message: One line.
            code: Exit code.
        """
        if self.store.add("n_failures", 1) == 1:
            self.store.set("failure", json.dumps([message, code]))

    def _next_key(self) -> str:
        # All processes meet equally often, so equal numbers belong together.
        self._n_meetings += 1
        return f"meeting-{self._n_meetings}"

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        pause = _SHORTEST_PAUSE
        with lost_if_it_fails():
            while not condition():
                if self.store.check(["failure"]):
                    raise LostProcessError
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)


@contextmanager
def lost_if_it_fails() -> Iterator[None]:
    """Within the block, an error of torch.distributed means that another process is gone.

    Raises:
        LostProcessError: In place of the error.
    """
    try:
        yield
    except RuntimeError as error:  # gloo has no class of its own
        raise LostProcessError from error


def n_processes() -> int:
    """Number of processes that `torchrun` has started, 1 without it."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in names) else 1


def local_rank() -> int:
    """Number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def n_local_processes() -> int:
    """Number of processes on this machine, which share its cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def join(url: str = "env://", rank: int = -1, size: int = -1) -> Processes:
    """Connect this process with the others.

    Args:
        url: Where they meet: "env://" as `torchrun` says, or "file:///PATH" of a new file.
        rank: Number of this process, which "file://" needs.
        size: Number of processes, which "file://" needs.

    Returns:
        The processes.
    """
    timeout = timedelta(seconds=float(os.environ.get(TIMEOUT, _DEFAULT_TIMEOUT)))
    store, rank, size = next(dist.rendezvous(url, rank, size, timeout=timeout))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    own = dist.PrefixStore("group", store)
    dist.init_process_group(backend, timeout=timeout, store=own, rank=rank, world_size=size)
    return Processes(dist.PrefixStore("lattgnn", store), rank, size)
