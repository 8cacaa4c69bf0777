// Forces of an orbit network on a lattice, all layers in one sweep over the rows of cells.
//
// A row is all cells with one index along axis 0. In memory a row holds one array per channel, so
// neighbors along the row are shifted loads and consecutive cells fill the lanes of a vector.
//
// A layer needs the rows of the layer below within the reach r of its bonds. It therefore works r
// rows behind that layer, and each layer keeps only the rows that are still needed, in a ring
// buffer. Three layers, r = 1:
//
//        row    t-4    t-3    t-2    t-1     t
//     field      .      .      .      .     [*]     loaded in this iteration
//     layer 0    .      .      .      .     [*]     uses the field of the same row
//     layer 1    .      .      .     [*]            uses rows t-2 ... t of layer 0
//     layer 2    .      .     [*]                   uses rows t-3 ... t-1 of layer 1
//
// The last layer gives the forces of row t-2.
//
// The working set is a few rows per layer, which stay in the cache for any number of rows. For a
// network with an energy the gradient follows in the same sweep: layer l of the way back works
// `backward_delay[l]` rows behind the field, and the derivatives of the nonlinearities are kept
// until then.
//
// Functions of spins lie on bonds (spins.h). So layer 0 then works `field_reach` rows behind the
// field, and the forces of a row come as many rows behind the gradient of the functions. Each spin
// gathers what it gets from all its bonds.
//
// Every site is computed by the same instructions, whatever its lane, tile or thread. Forces
// therefore do not depend on any of these, to the last bit.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lanes.h"
#include "network.h"
#include "rows.h"
#include "spins.h"

namespace {

// One thread at work: it sweeps over the rows of a tile, with ring buffers of all layers.
struct Sweep {
    const Network& net;
    const Geometry& lattice;
    const Tile* tile = nullptr;
    int64_t halo = 0;
    bool finite = true;  // whether the field was finite so far
    const int n_parts, n_components;
    std::vector<int64_t> forward_delay, backward_delay;
    Rows field;
    // For each layer: outputs, f', dE/d(output), and dE/d(input of f).
    std::vector<Rows> x, slope, gradient, pulled;
    // For spins: dE/d(functions of the field), and the energy y and the output z of each site.
    Rows of_functions, along;
    // Scratch memory of one group of sites, [channels, GROUP].
    std::vector<float> functions, functions_gradient, hidden, out;
    std::vector<Places> near;  // one for each part of a sublattice
    Places classical;
    SpinPlaces spins;

    Sweep(const Network& net, const Geometry& lattice)
        : net(net),
          lattice(lattice),
          n_parts(net.n_parts),
          n_components(net.spins ? 3 : 1),
          near(net.n_parts) {
        const int n = net.n_layers;
        halo = net.field_reach;
        int64_t length = 0, most_hidden = 0, most_out = 0;
        for (int k = 0; k < lattice.n_tiles; k++)
            length = std::max(length, lattice.tiles[k].length);
        // Layer l needs rows of layer l - 1 up to its reach ahead: delays add up.
        for (int l = 0; l < n; l++) {
            halo += net.layers[l].reach;
            forward_delay.push_back(halo);
        }
        // The last layer also waits for the field rows of the classical force.
        forward_delay[n - 1] = halo = std::max<int64_t>(halo, net.classical_reach);
        backward_delay.assign(n, halo);
        for (int l = n - 2; net.conservative && l >= 0; l--)
            backward_delay[l] = halo = halo + net.layers[l + 1].reach;
        // The functions of spins lie on bonds: their gradient needs that of the neighbors.
        if (net.spins && net.conservative) halo += net.field_reach;
        // A buffer is as deep as the delay between the writer of a row and its last reader, plus
        // one.
        const int64_t ahead = std::max(net.classical_reach, net.field_reach);
        field.resize(net.n_sublattices * (net.spins ? SPIN_CHANNELS : 1), length, halo + ahead + 1);
        if (net.spins && net.conservative) {
            of_functions.resize(net.first_function[net.n_sublattices * n_parts], length,
                                2 * net.field_reach + 1);
            along.resize(net.n_sublattices, length, halo - forward_delay[n - 1] + 1);
        }
        x.resize(n), slope.resize(n), gradient.resize(n), pulled.resize(n);
        for (int l = 0; l < n; l++) {
            const Layer& layer = net.layers[l];
            const int64_t next = l + 1 < n ? net.layers[l + 1].reach : 0;
            if (l + 1 < n)
                x[l].resize(layer.n_out, length,
                            forward_delay[l + 1] + next - forward_delay[l] + 1);
            if (net.conservative) {
                slope[l].resize(layer.n_hidden, length, backward_delay[l] - forward_delay[l] + 1);
                pulled[l].resize(layer.n_hidden, length, 2 * layer.reach + 1);
                if (l + 1 < n) gradient[l].resize(layer.n_out, length, layer.reach + 1);
            }
            for (int d = 0; d < net.n_sublattices; d++) {
                most_hidden = std::max(most_hidden, count(layer.first_hidden, d));
                most_out = std::max(most_out, count(layer.first_out, d));
            }
        }
        int64_t most_functions = 0;
        for (int d = 0; d < net.n_sublattices; d++)
            most_functions = std::max(most_functions, count(net.first_function, d));
        functions.assign(most_functions * GROUP, 0.0f);
        functions_gradient = functions;
        hidden.assign(most_hidden * GROUP, 0.0f);
        out.assign(std::max<int64_t>(most_out, 1) * GROUP, 0.0f);
    }

    bool outside(int64_t row) const {
        return !lattice.periodic_rows && (row < 0 || row >= lattice.n_rows);
    }

    // Number of channels on sublattice d, from the first channels of all parts.
    int64_t count(const int32_t* first, int d) const {
        return first[(d + 1) * n_parts] - first[d * n_parts];
    }

    void add_here(const Sum& sum, const float* x, float* result) { add(sum, &x, GROUP, result); }

    // Add, for all parts of sublattice d, the sums of channels `in` to channels `result` of the
    // same sites. `from` and `to` are the first channels of all parts.
    void add_parts(const Sum* sums, int d, const int32_t* from, const float* in, const int32_t* to,
                   float* result) {
        for (int q = d * n_parts, end = q + n_parts; q < end; q++)
            add_here(sums[q], in + (from[q] - from[d * n_parts]) * GROUP,
                     result + (to[q] - to[d * n_parts]) * GROUP);
    }
    // The same with sources on bonds, whose channels are `stride` floats apart.
    void add_near(const Sum* sums, int d, int64_t p, int64_t stride, const int32_t* to,
                  float* result) {
        for (int k = 0, q = d * n_parts; k < n_parts; k++, q++)
            add(sums[q], near[k].at(p), stride, result + (to[q] - to[d * n_parts]) * GROUP);
    }
    void find_near(const Sum* sums, int d, Rows& rows, int64_t row) {
        for (int k = 0; k < n_parts; k++) near[k].find(sums[d * n_parts + k], rows, row);
    }

    // Gather one row of the field from the order of sites (sublattices fastest) into one array per
    // sublattice.
    void load_field(const float* values, int64_t row) {
        const int64_t source = ((row % lattice.n_rows) + lattice.n_rows) % lattice.n_rows;
        const float* from = values + source * lattice.row_cells * net.n_sublattices * n_components;
        if (net.spins) return load_spins(from, row);
        for (int d = 0; d < net.n_sublattices; d++) {
            float* to = field.at(row, d);
            int bad = 0;
            for (int64_t p = 0; p < tile->length; p++) {
                const int32_t cell = tile->cells[p];
                to[p] = cell < 0 || outside(row) ? 0.0f : from[cell * net.n_sublattices + d];
                bad |= to[p] - to[p] != 0.0f;  // x - x is 0 unless x is infinite or NaN
            }
            finite &= !bad;
        }
    }

    // The same for spins, [site, component]: directions, lengths, and whether there is a site.
    void load_spins(const float* from, int64_t row) {
        for (int d = 0; d < net.n_sublattices; d++) {
            float* to = field.at(row, d * SPIN_CHANNELS);
            int bad = 0;
            for (int64_t p = 0; p < tile->length; p++) {
                const int32_t cell = tile->cells[p];
                const bool present = cell >= 0 && !outside(row);
                const float* spin = from + 3 * (cell * net.n_sublattices + d);
                const float x = present ? spin[0] : 0.0f, y = present ? spin[1] : 0.0f,
                            z = present ? spin[2] : 0.0f;
                const float length = __builtin_sqrtf(x * x + y * y + z * z);
                bad |= (x - x) + (y - y) + (z - z) != 0.0f;
                // The smallest length is that of `torch.nn.functional.normalize`.
                const float inverse = 1.0f / std::max(length, 1e-12f);
                float* slot = to + p;
                slot[0] = x * inverse, slot[field.length] = y * inverse,
                slot[2 * field.length] = z * inverse;
                slot[LENGTH * field.length] = length, slot[PRESENT * field.length] = present;
            }
            finite &= !bad;
        }
    }

    // Fill the slots beyond the boundaries: copies of the other end if periodic, zeros if open.
    void close(Rows& rows, int64_t row) {
        for (int64_t c = 0; c < rows.n_channels; c++) {
            float* values = rows.at(row, c);
            for (int64_t k = 0; k < 2 * tile->n_copies; k += 2)
                values[tile->copies[k]] = values[tile->copies[k + 1]];
            if (lattice.open)
                for (int64_t p = 0; p < tile->length; p++)
                    if (tile->cells[p] < 0 || outside(row)) values[p] = 0.0f;
        }
    }

    // Functions of the field that are the input of layer 0: steps, the linear one, bumps.
    void evaluate_functions(const float* q) {
        float* f = functions.data();
        for (int u = 0; u < UNROLL; u++) {
            const vec value = load(q + u * LANES);
            for (int k = 0; k < net.n_steps; k++)
                store(f + k * GROUP + u * LANES, tanh(value * net.steps[k]));
            store(f + net.n_steps * GROUP + u * LANES, value * net.slope);
            for (int k = 0; k < net.n_bumps; k++) {
                const vec y = value * net.bumps[k];
                store(f + (net.n_steps + 1 + k) * GROUP + u * LANES, exp2(y * y * (-0.5f * LOG2E)));
            }
        }
    }

    // Functions of the field for a group of cells, in `functions`.
    void evaluate_field(int64_t row, int64_t p, int d) {
        if (!net.spins) return evaluate_functions(field.at(row, d) + p);
        const float* own = field.at(row, d * SPIN_CHANNELS) + p;
        evaluate_spins(net.spins[d], own, spins.at(p), field.length, lattice.open,
                       functions.data());
    }

    // The nonlinearity of a layer on n channels of a group of cells. `kept` gets what the way back
    // needs, with channels `stride` floats apart: the derivatives of single channels, the values of
    // gates and their members.
    void apply(const Layer& layer, int d, int64_t n, float* h, float* kept, int64_t stride) {
        const int32_t* kinds = layer.kinds + layer.first_hidden[d * n_parts];
        for (int64_t k = 0; k < n; k++) {
            if (kinds[k] == GATED) continue;
            for (int u = 0; u < UNROLL; u++) {
                // SiLU is a * sigmoid(a); its derivative is sigmoid(a) * (1 + a * (1 -
                // sigmoid(a))).
                const vec a = load(h + k * GROUP + u * LANES),
                          sig = kinds[k] == SILU ? sigmoid(a) : splat(1.0f);
                store(h + k * GROUP + u * LANES, a * sig);
                if (kept) store(kept + k * stride + u * LANES, sig * (1.0f + a * (1.0f - sig)));
            }
        }
        for (int g = layer.first_gate[d]; g < layer.first_gate[d + 1]; g++) {
            const Gate& gate = layer.gates[g];
            for (int u = 0; u < UNROLL; u++) {
                vec square = {};
                for (int m = 0; m < gate.n_members; m++) {
                    const vec x = load(h + gate.members[m] * GROUP + u * LANES);
                    square += x * x;
                    if (kept) store(kept + gate.members[m] * stride + u * LANES, x);
                }
                float* at = h + gate.channel * GROUP + u * LANES;
                const vec a = load(at) + gate.square * square, sig = sigmoid(a);
                store(at, a * sig);
                if (kept) store(kept + gate.channel * stride + u * LANES, a);
                for (int m = 0; m < gate.n_members; m++) {
                    float* x = h + gate.members[m] * GROUP + u * LANES;
                    store(x, load(x) * sig);
                }
            }
        }
    }

    // The way back through `apply`: from dE/d(its results), in h, to dE/d(its input), in h too.
    void apply_back(const Layer& layer, int d, int64_t n, float* h, const float* kept,
                    int64_t stride) {
        const int32_t* kinds = layer.kinds + layer.first_hidden[d * n_parts];
        for (int64_t k = 0; k < n; k++) {
            if (kinds[k] == GATED) continue;
            for (int u = 0; u < UNROLL; u++) {
                float* at = h + k * GROUP + u * LANES;
                store(at, load(at) * load(kept + k * stride + u * LANES));
            }
        }
        for (int g = layer.first_gate[d]; g < layer.first_gate[d + 1]; g++) {
            const Gate& gate = layer.gates[g];
            for (int u = 0; u < UNROLL; u++) {
                vec product = {};  // of the members with the gradients of x * sigmoid(h)
                for (int m = 0; m < gate.n_members; m++)
                    product += load(h + gate.members[m] * GROUP + u * LANES) *
                               load(kept + gate.members[m] * stride + u * LANES);
                float* at = h + gate.channel * GROUP + u * LANES;
                const vec a = load(kept + gate.channel * stride + u * LANES), sig = sigmoid(a);
                const vec of_gate =
                    sig * (load(at) * (1.0f + a * (1.0f - sig)) + product * (1.0f - sig));
                store(at, of_gate);
                const vec factor = 2.0f * gate.square * of_gate;
                for (int m = 0; m < gate.n_members; m++) {
                    float* x = h + gate.members[m] * GROUP + u * LANES;
                    store(x, load(x) * sig +
                                 factor * load(kept + gate.members[m] * stride + u * LANES));
                }
            }
        }
    }

    // Layer l for a group of cells at slot p of sublattice d. The output stays in `out`, and in
    // x[l] for the next layer; slope[l] keeps what the way back through the nonlinearity needs.
    void forward(int l, int64_t row, int64_t p, int d) {
        const Layer& layer = net.layers[l];
        const int n_hidden = count(layer.first_hidden, d), n_out = count(layer.first_out, d);
        const int first_hidden = layer.first_hidden[d * n_parts],
                  first_out = layer.first_out[d * n_parts];
        float* h = hidden.data();
        for (int k = 0; k < n_hidden; k++)
            for (int u = 0; u < UNROLL; u++)
                store(h + k * GROUP + u * LANES, splat(layer.bias[first_hidden + k]));
        if (l == 0) {
            evaluate_field(row, p, d);
            add_parts(layer.convolution, d, net.first_function, functions.data(),
                      layer.first_hidden, h);
        } else {
            add_near(layer.convolution, d, p, x[l - 1].length, layer.first_hidden, h);
        }
        apply(layer, d, n_hidden, h,
              net.conservative ? slope[l].at(row, first_hidden) + p : nullptr, slope[l].length);
        fetch(layer.residual ? &x[l - 1] : nullptr, row, first_out, p, n_out);
        for (int k = 0; k < n_out; k++)
            for (int i = 0; i < GROUP; i++) out[k * GROUP + i] += layer.out_bias[first_out + k];
        add_parts(layer.mixing, d, layer.first_hidden, h, layer.first_out, out.data());
        if (l + 1 < net.n_layers) keep(x[l], row, first_out, p, n_out);
    }

    // Copy a group of cells from ring buffer rows to `out`, or set it to zero without rows.
    void fetch(Rows* rows, int64_t row, int64_t channel, int64_t p, int n) {
        if (!rows) return void(std::fill_n(out.data(), n * GROUP, 0.0f));
        const float* from = rows->at(row, channel) + p;
        for (int k = 0; k < n; k++)
            std::memcpy(out.data() + k * GROUP, from + k * rows->length, 4 * GROUP);
    }
    // Copy a group of cells from `out` to ring buffer rows.
    void keep(Rows& rows, int64_t row, int64_t channel, int64_t p, int n) {
        float* to = rows.at(row, channel) + p;
        for (int k = 0; k < n; k++)
            std::memcpy(to + k * rows.length, out.data() + k * GROUP, 4 * GROUP);
    }

    // From dE/d(output) of layer l, in `out`, to dE/d(input of f), in `hidden` and pulled[l].
    void pull_through(int l, int64_t row, int64_t p, int d) {
        const Layer& layer = net.layers[l];
        const int n_hidden = count(layer.first_hidden, d),
                  first_hidden = layer.first_hidden[d * n_parts];
        float* h = hidden.data();
        std::fill_n(h, n_hidden * GROUP, 0.0f);
        add_parts(layer.back_mixing, d, layer.first_out, out.data(), layer.first_hidden, h);
        apply_back(layer, d, n_hidden, h, slope[l].at(row, first_hidden) + p, slope[l].length);
        float* to = pulled[l].at(row, first_hidden) + p;
        for (int k = 0; k < n_hidden; k++)
            std::memcpy(to + k * pulled[l].length, h + k * GROUP, 4 * GROUP);
    }

    // dE/d(output) of layer l from that of layer l + 1, then through its own nonlinearity.
    void backward(int l, int64_t row, int64_t p, int d) {
        const Layer &layer = net.layers[l], &next = net.layers[l + 1];
        const int n_out = count(layer.first_out, d), first_out = layer.first_out[d * n_parts];
        fetch(next.residual ? &gradient[l + 1] : nullptr, row, first_out, p, n_out);
        add_near(next.back_convolution, d, p, pulled[l + 1].length, layer.first_out, out.data());
        keep(gradient[l], row, first_out, p, n_out);
        pull_through(l, row, p, d);
    }

    // Add the linear classical force, from the rows of the field.
    void add_classical(int64_t p, int d, float* result) {
        if (net.classical) add(net.classical[d], classical.at(p), field.length, result);
    }

    // Scatter a group of forces to the order of sites; cells outside the core belong to another
    // tile.
    void write(const float* result, int64_t row, int64_t p, int d, float* forces) {
        const int64_t step = net.n_sublattices * n_components;
        float* to = forces + row * lattice.row_cells * step + d * n_components;
        for (int m = 0; m < n_components; m++, result += GROUP, to++)
            for (int i = 0; i < GROUP && p + i < tile->end; i++)
                if (tile->core[p + i]) to[tile->cells[p + i] * step] = result[i];
    }

    // Forces of a direct head, from the last layer's output: bound * tanh(y) and the classical
    // force.
    void give_direct(int64_t row, int64_t p, int d, float* forces) {
        float* y = out.data();
        if (net.spins) return give_direct_spins(row, p, d, forces);
        if (net.bound > 0)
            for (int u = 0; u < UNROLL; u++)
                store(y + u * LANES, net.bound * tanh(load(y + u * LANES)));
        add_classical(p, d, y);
        write(y, row, p, d, forces);
    }

    // The same for spins, y / sqrt(1 + |y|^2 / bound^2), of which perhaps only the part
    // perpendicular to the spin is wanted.
    void give_direct_spins(int64_t row, int64_t p, int d, float* forces) {
        const float* own = field.at(row, d * SPIN_CHANNELS) + p;
        for (int u = 0; u < GROUP; u += LANES) {
            float* y = out.data() + u;
            Vector f = load_vector(y, GROUP);
            const Vector s = load_vector(own + u, field.length);
            if (net.bound > 0) {
                const vec factor = 1.0f / sqrt(1.0f + (f * f) * (1.0f / (net.bound * net.bound)));
                f = {f.x * factor, f.y * factor, f.z * factor};
            }
            if (net.tangent) add_scaled(f, -(f * s), s);
            store(y, f.x), store(y + GROUP, f.y), store(y + 2 * GROUP, f.z);
        }
        write(out.data(), row, p, d, forces);
    }

    // Add the energies of the core cells of a group.
    void add_core(const float* energies, int64_t p, double& energy) {
        for (int i = 0; i < GROUP && p + i < tile->end; i++)
            if (tile->core[p + i]) energy += energies[i];
    }

    // Add the energies of the core cells of a group. A linear force -K q has the energy q K q / 2.
    void add_energy(int64_t row, int64_t p, int d, double& energy) {
        float total[GROUP], elastic[GROUP] = {};
        add_classical(p, d, elastic);
        const float* q = field.at(row, d) + p;
        for (int u = 0; u < UNROLL; u++) {
            const vec value = load(q + u * LANES);
            vec e = load(out.data() + u * LANES) - 0.5f * value * load(elastic + u * LANES);
            if (net.bound > 0) e -= net.bound * sqrt(value * value + 1.0f);
            store(total + u * LANES, e);
        }
        add_core(total, p, energy);
    }

    // The same for spins, y + (1 - |S|^2) z / 2 - bound * sqrt(|S|^2 + 1). There is no z if only
    // forces perpendicular to the spin were learned. `out` becomes dE/d(output), and z is kept for
    // the force along the spin.
    void add_spin_energy(int64_t row, int64_t p, int d, double& energy, bool wanted) {
        float total[GROUP];
        const float* length = field.at(row, d * SPIN_CHANNELS + LENGTH) + p;
        for (int u = 0; u < GROUP; u += LANES) {
            float *y = out.data() + u, *z = y + GROUP;
            const vec square = load(length + u) * load(length + u), half = 0.5f * (1.0f - square);
            vec e = load(y);
            if (!net.tangent) {
                e += half * load(z);
                if (net.bound > 0) e -= net.bound * sqrt(square + 1.0f);
                store(along.at(row, d) + p + u, load(z));
                store(z, half);
            }
            store(total + u, e);
            store(y, splat(1.0f));
        }
        if (wanted) add_core(total, p, energy);
    }

    // dE/d(functions of spins) from `hidden` of layer 0.
    void keep_of_functions(int64_t row, int64_t p, int d) {
        float* g = functions_gradient.data();
        const int64_t n = count(net.first_function, d);
        std::fill_n(g, n * GROUP, 0.0f);
        add_parts(net.layers[0].back_convolution, d, net.layers[0].first_hidden, hidden.data(),
                  net.first_function, g);
        float* to = of_functions.at(row, net.first_function[d * n_parts]) + p;
        for (int64_t k = 0; k < n; k++)
            std::memcpy(to + k * of_functions.length, g + k * GROUP, 4 * GROUP);
    }

    // Forces of spins on one row: the gradient with respect to the direction of each spin is
    // projected on its tangent plane, and the terms of the energy with |S| give the part along the
    // spin.
    void spin_row(int64_t row, float* forces) {
        for (int d = 0; d < net.n_sublattices; d++) {
            const SpinBonds& bonds = net.spins[d];
            spins.find(bonds, field, row, &of_functions);
            const float* own = field.at(row, d * SPIN_CHANNELS);
            const float* gradient = of_functions.at(row, net.first_function[d * n_parts]);
            for (int64_t p = tile->begin; p < tile->end; p += GROUP) {
                float result[3 * GROUP];
                for (int64_t u = 0, at = p; u < GROUP; u += LANES, at += LANES) {
                    const float* const* evens = spins.evens_at(at);
                    const float* const* odds = spins.odds_at(at);
                    Vector f = spin_gradient(bonds, own + at, gradient + at, spins.at(at), evens,
                                             odds, field.length, of_functions.length);
                    const Vector s = load_vector(own + at, field.length);
                    const vec length = load(own + at + LENGTH * field.length), along_spin = f * s;
                    const vec inverse = -1.0f / larger(length, splat(1e-12f));
                    f = {f.x * inverse, f.y * inverse, f.z * inverse};
                    vec radial = -along_spin * inverse;
                    if (!net.tangent) {
                        radial += length * load(along.at(row, d) + at);
                        if (net.bound > 0)
                            radial += net.bound * length / sqrt(length * length + 1.0f);
                    }
                    add_scaled(f, radial, s);
                    store(result + u, f.x);
                    store(result + u + GROUP, f.y);
                    store(result + u + 2 * GROUP, f.z);
                }
                write(result, row, p, d, forces);
            }
        }
    }

    // Forces of an energy head: chain rule through the functions of the field, from `hidden` of
    // layer 0.
    void give_gradient(int64_t row, int64_t p, int d, float* forces) {
        const int n = net.n_steps + 1 + net.n_bumps;
        const float* q = field.at(row, d) + p;
        evaluate_functions(q);
        const float* f = functions.data();
        float* g = functions_gradient.data();
        std::fill_n(g, n * GROUP, 0.0f);
        add_here(net.layers[0].back_convolution[d], hidden.data(), g);
        float result[GROUP];
        for (int u = 0; u < UNROLL; u++) {
            const vec value = load(q + u * LANES);
            vec total = load(g + net.n_steps * GROUP + u * LANES) * net.slope;
            for (int k = 0; k < net.n_steps; k++) {
                const vec t = load(f + k * GROUP + u * LANES);
                total += load(g + k * GROUP + u * LANES) * net.steps[k] * (1.0f - t * t);
            }
            for (int k = 0; k < net.n_bumps; k++) {
                const int at = (net.n_steps + 1 + k) * GROUP + u * LANES;
                total -= load(g + at) * load(f + at) * value * (net.bumps[k] * net.bumps[k]);
            }
            if (net.bound > 0) total -= net.bound * value / sqrt(value * value + 1.0f);
            store(result + u * LANES, -total);
        }
        add_classical(p, d, result);
        write(result, row, p, d, forces);
    }

    // Layer l on one row. `wanted` is whether the row belongs to this thread, whose energies count.
    void forward_row(int l, int64_t row, float* forces, double* energies, bool wanted) {
        const bool last = l + 1 == net.n_layers;
        double energy = 0;
        for (int d = 0; d < net.n_sublattices; d++) {
            if (l > 0) find_near(net.layers[l].convolution, d, x[l - 1], row);
            else if (net.spins) spins.find(net.spins[d], field, row);
            if (last && net.classical) classical.find(net.classical[d], field, row);
            for (int64_t p = tile->begin; p < tile->end; p += GROUP) {
                forward(l, row, p, d);
                if (!last) continue;
                if (!net.conservative) {
                    give_direct(row, p, d, forces);
                    continue;
                }
                if (net.spins) {
                    add_spin_energy(row, p, d, energy, wanted);
                } else {
                    if (wanted) add_energy(row, p, d, energy);
                    std::fill_n(out.data(), GROUP, 1.0f);
                }
                pull_through(l, row, p, d);
            }
        }
        if (last && net.conservative) {
            if (wanted) energies[row] = energy;
            close(pulled[l], row);
        }
        if (!last) close(x[l], row);
    }

    // The way back through layer l on one row.
    void backward_row(int l, int64_t row, float* forces) {
        for (int d = 0; d < net.n_sublattices; d++) {
            find_near(net.layers[l + 1].back_convolution, d, pulled[l + 1], row);
            if (l == 0 && net.classical) classical.find(net.classical[d], field, row);
            for (int64_t p = tile->begin; p < tile->end; p += GROUP) {
                backward(l, row, p, d);
                if (l > 0) continue;
                if (net.spins) keep_of_functions(row, p, d);
                else give_gradient(row, p, d, forces);
            }
        }
        if (l > 0) close(pulled[l], row);
        else if (net.spins) close(of_functions, row);
    }

    // Forces and energies of the rows [first, last) of one tile.
    void run(const Tile& piece, int64_t first, int64_t last, const float* values, float* forces,
             double* energies) {
        tile = &piece;
        // Rows in the halo on both sides are computed again by each thread, as far as a later row
        // needs them.
        for (int64_t t = first - halo; t < last + halo; t++) {
            load_field(values, t);
            for (int l = 0; l < net.n_layers; l++) {
                const int64_t row = t - forward_delay[l];
                if (row < first - halo + forward_delay[l] || row >= last + halo - forward_delay[l])
                    continue;
                forward_row(l, row, forces, energies, row >= first && row < last);
            }
            for (int l = net.n_layers - 2; net.conservative && l >= 0; l--) {
                const int64_t row = t - backward_delay[l];
                if (row >= first - halo + backward_delay[l] &&
                    row < last + halo - backward_delay[l])
                    backward_row(l, row, forces);
            }
            const int64_t row = t - halo;
            if (net.spins && net.conservative && row >= first && row < last) spin_row(row, forces);
        }
    }
};

struct Plan {
    Network net;
    Geometry lattice;
    std::vector<std::unique_ptr<Sweep>> sweeps;  // one per thread, kept from call to call
    std::mutex busy;  // the sweeps serve one call at a time
};

}  // namespace

extern "C" {

// The arrays that net and lattice point to must outlive the plan.
void* lattgnn_plan(const Network* net, const Geometry* lattice) {
    return new Plan{*net, *lattice, {}, {}};
}

void lattgnn_free_plan(void* plan) { delete static_cast<Plan*>(plan); }

// Forces [batch, sites] of fields [batch, sites], and energies [batch, tiles, rows] if the network
// has energies. Returns whether all fields are finite.
int32_t lattgnn_forces(void* handle, const float* fields, float* forces, double* energies,
                       int64_t batch, int32_t n_threads) {
    Plan& plan = *static_cast<Plan*>(handle);
    const std::lock_guard<std::mutex> lock(plan.busy);
    const Geometry& g = plan.lattice;
    const int64_t n_components = plan.net.spins ? 3 : 1, units = batch * g.n_tiles;
    const int64_t n_values = g.n_rows * g.row_cells * plan.net.n_sublattices * n_components;
    if (plan.sweeps.empty()) plan.sweeps.push_back(std::make_unique<Sweep>(plan.net, plan.lattice));
    // A unit is one tile of one sample. Where units do not divide evenly among threads, rows are
    // cut as well, but not into pieces shorter than twice the halo: those would mostly repeat work
    // of their neighbors.
    const int64_t most =
        std::max<int64_t>(1, g.n_rows / std::max<int64_t>(1, 2 * plan.sweeps[0]->halo));
    const int64_t pieces = units % n_threads == 0 ? 1 : std::min<int64_t>(n_threads, most);
    const int64_t total = units * pieces, used = std::min<int64_t>(n_threads, total);
    while (static_cast<int64_t>(plan.sweeps.size()) < used)
        plan.sweeps.push_back(std::make_unique<Sweep>(plan.net, plan.lattice));
    std::atomic<int64_t> next{0};
    auto work = [&](Sweep* sweep) {
        // Threads take the next piece when they are free, so that a slow one does not hold up the
        // others.
        for (int64_t k; (k = next++) < total;) {
            const int64_t unit = k / pieces, piece = k % pieces, sample = unit / g.n_tiles;
            sweep->run(g.tiles[unit % g.n_tiles], g.n_rows * piece / pieces,
                       g.n_rows * (piece + 1) / pieces, fields + sample * n_values,
                       forces + sample * n_values, energies ? energies + unit * g.n_rows : nullptr);
        }
    };
    std::vector<std::thread> threads;
    for (int64_t k = 1; k < used; k++) threads.emplace_back(work, plan.sweeps[k].get());
    work(plan.sweeps[0].get());
    for (auto& thread : threads) thread.join();
    bool finite = true;
    for (auto& sweep : plan.sweeps) finite &= std::exchange(sweep->finite, true);
    return finite;
}
}
