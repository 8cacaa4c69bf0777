"""Numbers that must not change: the names of datasets and the forces of shipped checkpoints.

These are regression values of our own code. A dataset with another name is made anew, and a
checkpoint whose forces change is another force field, so neither may happen by accident.
"""

from pathlib import Path

import pytest
import torch
import yaml

import lattgnn
from lattgnn.checkpoint import load_checkpoint, read_header
from lattgnn.cli.physics_verbs import generate_parser
from lattgnn.data.generation import dataset_config, dataset_path
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square

DATASETS = {
    "double_exchange_square": "double-exchange-square-305ec40f594e",
    "holstein_square": "holstein-square-6504651350c3",
    "holstein_square_domain": "holstein-square-domain-8f1eef15e06c",
    "holstein_square_fresh": "holstein-square-fresh-0cf73557f68b",
    "holstein_weak": "holstein-weak-ea07b74048a8",
    "jahn_teller_square": "jahn-teller-square-241a77916396",
    "kondo_square": "kondo-square-d54377412e9f",
    "kondo_square_fresh": "kondo-square-fresh-a1782a7ddc6e",
    "order_120": "order_120-cb70aa3c55f2",
    "peierls_square": "peierls-square-4a65b77297ea",
    "tetrahedral": "tetrahedral-313b176a4265",
}
FORCES = {
    "holstein-square": (5.0, 0, [1.0473474366424467, 1.732754053238248, -1.7432496491420602]),
    "holstein-square-small": (
        5.0,
        0,
        [1.0404344007404442, 1.7334763407421427, -1.7446856467622736],
    ),
    "holstein-square-energy": (
        5.0,
        0,
        [1.0571295842864004, 1.7316728626463929, -1.7427741322846206],
    ),
    "kondo-square": (1.0, 3, [-0.06600884631200885, -2.5070567101059984, -0.0749247019503546]),
    "peierls-square": (0.2, 2, [-0.37427064425876133, -0.07084442225115402, 0.224436547506742]),
}


@pytest.mark.parametrize("config", sorted(DATASETS))
def test_datasets_keep_their_names(config):
    parser = generate_parser()
    asked = parser.instantiate(parser.parse_args([f"--config=configs/generate/{config}.yaml"]))
    resolved = dataset_config(
        asked.lattice, asked.hamiltonian, asked.solver, asked.sources, asked.seed
    )
    assert dataset_path(resolved, "", asked.name).name == DATASETS[config]


@pytest.mark.parametrize("name", sorted(FORCES))
def test_shipped_checkpoints_keep_their_forces(name):
    scale, n_components, expected = FORCES[name]
    lattice = square(12)
    learned = LearnedForceField.pretrained(name, lattice=lattice)
    # A smooth function of the site number stands for a random field, so that no generator matters.
    square_number = torch.arange(lattice.n_sites, dtype=torch.float64).square()
    field = scale * torch.sin(1.7 * square_number)
    if n_components:
        phases = [(c + 1.3) * square_number + c for c in range(n_components)]
        field = scale * torch.sin(torch.stack(phases, -1))
    if n_components == 3:
        field = torch.nn.functional.normalize(field, dim=-1)
    net = learned.net.double()
    with torch.no_grad():
        _, forces = net(field[None], net.graph(lattice))
    found = forces.flatten()[[0, 50, 143]].tolist()
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", sorted(FORCES))
def test_recipes_of_shipped_checkpoints_describe_their_networks(name):
    folder = Path(lattgnn.__file__).parent / "pretrained"
    header = read_header(load_checkpoint(folder / f"{name}.ckpt"))
    found = header["net"]["init_args"]
    recipe = yaml.safe_load((folder / f"{name}.yaml").read_text())["model"]["net"]
    assert recipe["class_path"] == header["net"]["class_path"]
    hidden = found["hidden"]["init_args"]
    assert recipe["init_args"].pop("hidden").items() <= hidden.items()
    assert recipe["init_args"].items() <= found.items()
