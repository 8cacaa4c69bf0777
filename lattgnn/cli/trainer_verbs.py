"""The trainer verbs: fit, validate, test and predict."""

import logging
import sys

import torch
from jsonargparse import set_parsing_settings

from lattgnn.cli.fit_checks import errors_of_lightning, is_of_first_process, silence_lightning
from lattgnn.cli.run_directory import RunDirectory
from lattgnn.cli.trainer_cli import TrainerCLI, TrainerParser
from lattgnn.data import LatticeDataModule, Source
from lattgnn.dynamics import Integrator, SpinTransferTorque, TemperatureProtocol
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import Solver
from lattgnn.spin_orders import SpinOrder
from lattgnn.training.lit_module import LitForceField


def main(argv: list[str]) -> None:
    """Run a trainer verb, with the messages of lattgnn's loggers on stderr.

    Args:
        argv: The verb and its arguments.

    Raises:
        InputError: If an argument is wrong.
    """
    silence_lightning()
    messages, handler = logging.getLogger("lattgnn"), logging.StreamHandler()
    handler.addFilter(is_of_first_process)
    n_threads = torch.get_num_threads()
    messages.setLevel(logging.INFO)
    messages.addHandler(handler)
    try:
        with errors_of_lightning():
            _run(argv)
    finally:
        messages.removeHandler(handler)
        torch.set_num_threads(n_threads)


def _run(argv: list[str]) -> None:
    data = [Lattice, Hamiltonian, Solver, Source, SpinOrder]
    dynamics = [Integrator, TemperatureProtocol, SpinTransferTorque]
    set_parsing_settings(subclasses_enabled=[*data, *dynamics])
    _cli_of(argv[0])(
        LitForceField,
        LatticeDataModule,
        args=argv,
        save_config_callback=RunDirectory,
        seed_everything_default=0,
        trainer_defaults={
            "inference_mode": False,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": sys.stderr.isatty(),
            "enable_model_summary": False,
        },
        auto_configure_optimizers=False,
        parser_class=TrainerParser,
        parser_kwargs={"prog": "lattgnn"},
    )


def _cli_of(verb: str) -> type[TrainerCLI]:
    """The command line of one verb; it makes no parsers of the other three, which take time."""
    one = {verb: TrainerCLI.subcommands()[verb]}
    return type("TrainerCLI", (TrainerCLI,), {"subcommands": staticmethod(lambda: one)})
