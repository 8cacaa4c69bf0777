"""`lattgnn doctor`: what is installed, and which hardware would be used."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from dask.system import CPU_COUNT

from lattgnn.cli.parser import Parser
from lattgnn.serialize import versions

# module: (extra that installs it, what it provides)
OPTIONAL = {
    "torch_scatter": ("scatter", "PyG's segment reductions"),
    "imageio_ffmpeg": ("movie", "movies of a quench"),
    "optuna": ("optuna", "searches of hyperparameters"),
}


def main(argv: Sequence[str]) -> None:
    """Print the report. Nothing is changed, and the network is not used.

    Args:
        argv: The verb and its options.
    """
    parser = Parser(
        prog="lattgnn doctor",
        description="Show what is installed, and which hardware would be used.",
    )
    parser.parse_args(list(argv[1:]))
    for title, rows in report().items():
        print(title)
        width = max(map(len, rows))
        for name, value in rows.items():
            print(f"  {name:<{width}}  {value}")
        print()


def report() -> dict[str, dict[str, str]]:
    """Collect the report.

    Returns:
        Names and values by section.
    """
    return {
        "Versions": {**versions(), "wandb": version("wandb")},
        "Optional parts": {name: _optional(name, *part) for name, part in OPTIONAL.items()},
        "Machine": _machine(),
        "Hardware used": _plan(),
    }


def _optional(module: str, extra: str, provides: str) -> str:
    found = importlib.util.find_spec(module) is not None
    if found:
        return f"installed: {provides}"
    return f"missing: {provides}; install it with: pip install 'lattgnn[{extra}]'"


def _machine() -> dict[str, str]:
    import psutil
    import scipy.linalg  # noqa: F401  loads scipy's LAPACK, so that threadpool_info sees it
    import torch
    from threadpoolctl import threadpool_info

    memory = psutil.virtual_memory()
    pools = {
        f"{p['internal_api']} {p['version'] or ''}, {p['num_threads']} threads"
        for p in threadpool_info()
    }
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}, {sys.executable}",
        "cores": f"{CPU_COUNT} usable of {os.cpu_count()}",
        "memory": f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free in {Path.cwd()}",
        "torch": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        "BLAS, OpenMP": "; ".join(sorted(pools)),
        "GPU": "; ".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus)
        or "none",
    }


def _plan() -> dict[str, str]:
    import torch

    scheduler = os.environ.get("DASK_SCHEDULER_ADDRESS")
    gpu = torch.cuda.is_available()
    return {
        "generate": f"on the dask cluster at {scheduler}"
        if scheduler
        else f"{CPU_COUNT} processes of one thread",
        "fit": "on the GPU (--trainer.accelerator=cpu for the CPU)" if gpu else "on the CPU",
        "simulate": "on the CPU" + (" (--device=cuda for the GPU)" if gpu else ""),
        "learned forces": _forces(),
        "eigenvalues": "scipy (driver evd) on the CPU, torch on a GPU",
        "wandb": _wandb(),
    }


def _forces() -> str:
    from lattgnn.native import compiler, is_switched_off, library

    if is_switched_off():
        return "PyTorch, because LATTGNN_NATIVE switches compiled code off"
    if library() is None:
        return (
            "PyTorch; with a C++ compiler (g++, or $CXX), scalar fields and spins on the CPU are "
            "faster"
        )
    command = " ".join(compiler() or [])
    compiled = f"compiled code (by {command}) for scalar fields and spins on the CPU"
    return f"{compiled}, PyTorch for others"


def _wandb() -> str:
    mode = os.environ.get("WANDB_MODE")
    key = "an API key is set" if os.environ.get("WANDB_API_KEY") else "no WANDB_API_KEY"
    return f"{f'WANDB_MODE={mode}' if mode else 'offline unless online=True'}, {key}"
