"""Published force-field networks for lattice systems, for comparison.

They are rebuilt from their descriptions. Each file is one network and names its source; sizes are
the published ones if these are known. Like all networks here, they learn the electronic force.
"""

from lattgnn.nn.baselines.behler_parrinello import BehlerParrinello
from lattgnn.nn.baselines.energy_mpnn import EnergyMPNN
from lattgnn.nn.baselines.group_average import GroupAveragedMLP
from lattgnn.nn.baselines.irreps_fcnn import IrrepsFCNN

__all__ = ["BehlerParrinello", "EnergyMPNN", "GroupAveragedMLP", "IrrepsFCNN"]
