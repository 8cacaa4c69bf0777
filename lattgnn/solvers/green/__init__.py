"""Green's functions by message passing, at a cost linear in the number of sites.

The modules in the order in which to read them:

    green_function                           the solver
    poles, matsubara, rational_fit           the Fermi function as a sum over a few poles
    schedule, calibration                    what is done at each pole, also for a tolerance
    site_graph, messages, blocks, dense      Green's functions of any model, in PyTorch
    density, one_field                       the density matrix, the energy and μ of a field
    stencil, stencil_blocks, stages          models that are the same in all cells
    straight_line, elimination,              ... whose Green's functions are written out as programs
      block_elimination, mean_poles,
      program, pipelines, stencil_greens
    list_schedule, codegen, kernels,         ... which run as compiled C++ or as tensor operations
      tensor_sums
    fast_forces, element_forces,             forces in one pass, without an energy
      density_forces, rounding
"""

from lattgnn.solvers.green.schedule import Block, Pole

__all__ = ["Block", "Pole"]
