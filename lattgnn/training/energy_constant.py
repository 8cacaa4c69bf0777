"""The constant of a learned energy, which forces do not determine."""

import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lattgnn.data import LatticeDataModule
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork

# More frames do not change their mean energy per site noticeably.
N_FRAMES = 64


def set_energy_constant(net: ForceNetwork, lattice: Lattice, trainer: Trainer) -> None:
    """During a fit, shift the energy so that its mean over training frames is that of the labels.

    Args:
        net: A network with an energy. Its forces stay as they are, bit for bit.
        lattice: The lattice of the frames.
        trainer: What fits it; frames without an energy are left out.
    """
    data = getattr(trainer, "datamodule", None)
    is_fit = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
    if not is_fit or not isinstance(data, LatticeDataModule):
        return
    frames = data.tensors["train"]
    known = frames["energy"].isfinite().nonzero().squeeze(1)
    if len(known) == 0:
        return
    # Spread over all frames, because early and late ones of a quench differ.
    chosen = known[torch.linspace(0, len(known) - 1, min(N_FRAMES, len(known))).long()]
    parameter = next(net.parameters())
    # Lightning validates in inference mode, whose tensors a parameter must not become.
    with torch.inference_mode(False), torch.no_grad():
        graph = net.graph(lattice)
        field = frames["field"][chosen].to(parameter)
        found = torch.cat([net.site_energies(part, graph).sum(1) for part in field.split(8)])
        error = frames["energy"][chosen].double() - found.double().to(frames["energy"].device)
        net.shift_energy(float(error.mean()) / lattice.n_sites)
