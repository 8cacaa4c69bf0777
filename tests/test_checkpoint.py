"""Headers of checkpoints: version 2 is upgraded, and the shipped files are of that version."""

from pathlib import Path

import pytest

import lattgnn
from lattgnn.checkpoint import FORMAT_VERSION, load_checkpoint, read_header
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.serialize import build, describe

SHIPPED = sorted((Path(lattgnn.__file__).parent / "pretrained").glob("*.ckpt"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_headers_of_version_2_are_upgraded(path):
    checkpoint = load_checkpoint(path)
    old, header = checkpoint["lattgnn"], read_header(checkpoint)
    assert old["format_version"] == 2 and header["format_version"] == FORMAT_VERSION == 3
    lattice = build(header["lattice"], Lattice)
    net = build(header["net"], ForceNetwork, lattice)
    assert net.field_type == build(header["hamiltonian"], Hamiltonian, lattice).field_type
    assert describe(net) == header["net"]
    before, hidden = old["net"]["init_args"], header["net"]["init_args"]["hidden"]["init_args"]
    assert hidden["channels"] == before["channels"]
    assert hidden["representation"] == before["hidden"]
    weights = {key.removeprefix("net.") for key in checkpoint["state_dict"]}
    assert set(net.state_dict()) <= weights
