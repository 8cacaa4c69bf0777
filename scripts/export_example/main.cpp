// Langevin dynamics in C++ with a force field that `lattgnn export CHECKPOINT --out FILE.pt2` has
// written.
//
//     ./quench FILE.pt2 EXTENT [STEPS [OUT]]
//
// The lattice is a square lattice of EXTENT x EXTENT sites with one displacement per site, in
// float32. A step is that of lattgnn.dynamics.VerletLangevin: half kick, drift, half kick, then
// friction and noise. The last field is written to the file OUT, as float32 in row-major order.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

int main(int argc, char** argv) try {
    const long extent = argc > 2 ? std::atol(argv[2]) : 0,
               steps = argc > 3 ? std::atol(argv[3]) : 100;
    // A package does not check the extent: its minimum is smallest_extent in the metadata.
    if (extent < 3 || steps < 1) {
        std::fprintf(stderr, "usage: %s FILE.pt2 EXTENT [STEPS [OUT]]\n", argv[0]);
        return 2;
    }
    // As in configs/simulate/quench.yaml.
    const double dt = 0.05, kT = 0.1, gamma = 0.2, mass = 5.0;
    // Exact Ornstein-Uhlenbeck step of the momentum: p -> keep p + kick xi, with standard normal
    // xi.
    const double keep = std::exp(-gamma * dt), kick = std::sqrt((1 - keep * keep) * mass * kT);

    c10::InferenceMode no_autograd;
    at::manual_seed(0);
    torch::inductor::AOTIModelPackageLoader program(argv[1]);

    // [batch, cells, cells, sublattices]
    at::Tensor field = 5.27 * at::randn({1, extent, extent, 1});
    at::Tensor momentum = mass * at::randn_like(field);
    std::vector<at::Tensor> found = program.run({field});  // forces, then energies if there are any
    for (long step = 0; step <= steps; step++) {
        if (step % (steps < 10 ? 1 : steps / 10) == 0) {
            const double kinetic = momentum.square().mean().item<double>() / (2 * mass);
            std::printf("step %6ld  kinetic %.6f  <Q^2> %.6f", step, kinetic,
                        field.square().mean().item<double>());
            if (found.size() > 1)
                std::printf("  potential %.6f", found[1].item<double>() / field.numel());
            std::printf("\n");
        }
        if (step == steps) break;
        momentum.add_(found[0], 0.5 * dt);
        field = field.add(momentum, dt / mass);
        found = program.run({field});
        momentum.add_(found[0], 0.5 * dt);
        momentum.mul_(keep).add_(at::randn_like(momentum), kick);
    }
    if (argc > 4) {
        const at::Tensor last = field.contiguous();
        std::ofstream(argv[4], std::ios::binary)
            .write(static_cast<const char*>(last.const_data_ptr()), last.nbytes());
    }
    return 0;
} catch (const c10::Error& error) {
    std::fprintf(stderr, "%s\n", error.what_without_backtrace());
    return 1;
}
