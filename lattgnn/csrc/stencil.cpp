// Forces of an orbit network on a lattice, all layers in one sweep over the rows of cells.
//
// A row is all cells with one index along axis 0. In memory a row holds one array per channel, so neighbors
// along the row are shifted loads and consecutive cells fill the lanes of a vector.
//
// A layer needs the rows of the layer below within the reach r of its bonds. It therefore works r rows behind
// that layer, and each layer keeps only the rows that are still needed, in a ring buffer. Three layers, r = 1:
//
//        row    t-4    t-3    t-2    t-1     t
//     field      .      .      .      .     [*]     loaded in this iteration
//     layer 0    .      .      .      .     [*]     uses the field of the same row
//     layer 1    .      .      .     [*]            uses rows t-2 ... t of layer 0
//     layer 2    .      .     [*]                   uses rows t-3 ... t-1 of layer 1, gives forces of row t-2
//
// The working set is a few rows per layer, which stay in the cache for any number of rows. For a network with
// an energy the gradient follows in the same sweep: layer l of the way back works `backward_delay[l]` rows
// behind the field, and the derivatives of the nonlinearities are kept until then.
//
// Every site is computed by the same instructions, whatever its lane, tile or thread. Forces therefore do not
// depend on any of these, to the last bit.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, UNROLL = 2, MAX_OUT = 12;  // 24 accumulators of 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8, UNROLL = 2, MAX_OUT = 6;
#else
constexpr int LANES = 4, UNROLL = 2, MAX_OUT = 6;
#endif
// Sites computed together: two vectors give the processor independent work while a product is under way.
constexpr int GROUP = LANES * UNROLL;

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline vec load(const float* x) { return *reinterpret_cast<const vec*>(x); }
inline void store(float* x, vec v) { *reinterpret_cast<vec*>(x) = v; }
inline vec splat(float x) { return vec{} + x; }

// Minimum and maximum give the second argument where either is NaN, as the AVX instructions do. With AVX-512
// the reciprocal is an estimate of 14 bits and one Newton step: error 2e-7, in half the time of a division.
#if defined(__AVX512F__)
inline vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
inline vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
inline vec reciprocal(vec x) {
    const vec r = (vec)_mm512_rcp14_ps((__m512)x);
    return r + r * (1.0f - x * r);
}
#elif defined(__AVX__)
inline vec smaller(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
inline vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
inline vec reciprocal(vec x) { return 1.0f / x; }
#else
inline vec smaller(vec a, vec b) { return a < b ? a : b; }
inline vec larger(vec a, vec b) { return a > b ? a : b; }
inline vec reciprocal(vec x) { return 1.0f / x; }
#endif

// 2^y for y clamped to [-126, 126], relative error 1e-7: y = n + r with a whole number n, 2^r by a polynomial
// on [-1/2, 1/2], and n added to the exponent bits of the result.
inline vec exp2(vec y) {
    y = larger(splat(-126.0f), smaller(splat(126.0f), y));
    // 1.5 * 2^23: floats of this size are whole numbers, so the sum is rounded to the nearest one, and the low
    // bits of its representation are n.
    const vec shift = splat(12582912.0f);
    const vec shifted = y + shift;
    const vec r = y - (shifted - shift);
    vec p = splat(1.327647187318e-3f);
    p = p * r + 9.675541333479e-3f;
    p = p * r + 5.550713273867e-2f;
    p = p * r + 2.402211972386e-1f;
    p = p * r + 6.931469670645e-1f;
    p = p * r + 1.0f;
    // The exponent of a float begins at bit 23. The upper bits of `shifted` leave the word in the shift.
    return reinterpret_cast<vec>(reinterpret_cast<ivec>(p) + (reinterpret_cast<ivec>(shifted) << 23));
}
constexpr float LOG2E = 1.44269504088896341f;
inline vec sigmoid(vec x) { return reciprocal(1.0f + exp2(x * -LOG2E)); }
inline vec tanh(vec x) { return 1.0f - 2.0f * reciprocal(1.0f + exp2(x * (2.0f * LOG2E))); }
inline vec sqrt(vec x) {
    vec r;
    for (int i = 0; i < LANES; i++) r[i] = __builtin_sqrtf(x[i]);
    return r;
}

}  // namespace

extern "C" {

// The sum over terms t and channels c of weights[t, c, :] * (sum of x[c, row, slot] over the bonds of t).
// Bonds that share a matrix are one term: their sources are added before the multiplication.
struct Sum {
    int32_t n_terms, n_out;
    const int32_t* n_bonds;     // [n_terms]
    const int32_t* n_channels;  // [n_terms]
    const int64_t* bonds;       // [all bonds, 3]: first channel, shift in rows, shift in slots along the row
    const float* weights;       // [all channels of all terms, n_out]
};

// x -> (x +) out_bias + mixing f(bias + convolution x), where f is SiLU or the identity. There is one Sum for
// each sublattice; `back_` are the transposed sums of the gradient.
struct Layer {
    int32_t n_hidden, n_out;  // channels of a cell, over all sublattices
    int32_t residual, silu, reach;  // reach: rows that a bond spans
    const int32_t *first_hidden, *first_out;  // [n_sublattices + 1]
    const float *bias, *out_bias;             // [n_hidden], [n_out]
    const Sum *convolution, *mixing, *back_convolution, *back_mixing;
};

struct Network {
    int32_t n_sublattices, n_layers, n_steps, n_bumps;
    const float *steps, *bumps;  // 1 / width of each function of the field
    float slope, bound;          // of the linear function; bound 0 is none
    int32_t conservative, classical_reach;
    const Layer* layers;
    const Sum* classical;  // [n_sublattices], n_out = 1, or null
};

// A part of a row, as `length` slots: its cells, those beyond its ends, and a margin on both sides that vectors
// may touch. Slots [begin, end) are computed.
struct Tile {
    int64_t length, begin, end, n_copies;
    const int32_t* cells;   // [length]: cell of the row in each slot, -1 for none
    const int32_t* copies;  // [n_copies, 2]: slots beyond a periodic boundary, and the slots that they copy
    const int32_t* core;    // [length]: 1 where the result belongs to this tile
};

struct Geometry {
    int64_t n_rows, row_cells, n_tiles;
    int32_t periodic_rows, open;  // open: whether any boundary is open
    const Tile* tiles;
};
}

namespace {

// out[o] += the Sum for a group of cells, outputs first ... first + N - 1. x[b] points to the first channel of
// bond b at the first cell, and channels are `stride` floats apart.
//
// N is a template argument so that all accumulators stay in registers: each weight is then used twice, and each
// input N times, per load.
template <int N>
void add_products(const Sum& sum, int first, const float* const* x, int64_t stride, float* out) {
    static_assert(UNROLL == 2);
    vec left[N], right[N];  // in registers, because every loop over them is unrolled
    out += first * GROUP;
#pragma GCC unroll 16
    for (int o = 0; o < N; o++) left[o] = load(out + o * GROUP), right[o] = load(out + o * GROUP + LANES);
    const float* w = sum.weights + first;
    for (int t = 0; t < sum.n_terms; t++) {
        const int n = sum.n_bonds[t];
        for (int64_t c = 0, end = sum.n_channels[t] * stride; c < end; c += stride, w += sum.n_out) {
            vec a = load(x[0] + c), b = load(x[0] + c + LANES);
            for (int k = 1; k < n; k++) a += load(x[k] + c), b += load(x[k] + c + LANES);
#pragma GCC unroll 16
            for (int o = 0; o < N; o++) left[o] += w[o] * a, right[o] += w[o] * b;
        }
        x += n;
    }
#pragma GCC unroll 16
    for (int o = 0; o < N; o++) store(out + o * GROUP, left[o]), store(out + o * GROUP + LANES, right[o]);
}

// Call add_products<n> for a number n that is known only at run time.
template <int N>
void dispatch(int n, const Sum& sum, int first, const float* const* x, int64_t stride, float* out) {
    if constexpr (N > 0) {
        if (n == N) return add_products<N>(sum, first, x, stride, out);
        dispatch<N - 1>(n, sum, first, x, stride, out);
    }
}

// out += the Sum, with the outputs cut into equal chunks that fit into the registers.
void add(const Sum& sum, const float* const* x, int64_t stride, float* out) {
    const int n_chunks = (sum.n_out + MAX_OUT - 1) / MAX_OUT;
    for (int k = 0, first = 0; k < n_chunks; k++) {
        const int n = (sum.n_out - first + n_chunks - k - 1) / (n_chunks - k);
        dispatch<MAX_OUT>(n, sum, first, x, stride, out);
        first += n;
    }
}

// A ring buffer with the last `depth` rows of some channels, [depth, n_channels, length]. Row r is at r mod
// depth. Rows may be negative: a sweep starts before row 0.
struct Rows {
    std::vector<float> data;
    int64_t n_channels = 0, length = 0, depth = 0;
    void resize(int64_t channels, int64_t row_length, int64_t n) {
        n_channels = channels, length = row_length, depth = n;
        data.assign(channels * length * depth, 0.0f);
    }
    float* at(int64_t row, int64_t channel) {
        const int64_t slot = ((row % depth) + depth) % depth;
        return data.data() + (slot * n_channels + channel) * length;
    }
};

// Addresses of the sources of all bonds of a Sum, for one destination row.
struct Places {
    std::vector<const float*> base, moved;
    void find(const Sum& sum, Rows& rows, int64_t row) {
        base.clear();
        for (int64_t b = 0, n = count_bonds(sum); b < n; b++)
            base.push_back(rows.at(row + sum.bonds[3 * b + 1], sum.bonds[3 * b]) + sum.bonds[3 * b + 2]);
        moved.resize(base.size());
    }
    const float* const* at(int64_t p) {
        for (size_t b = 0; b < base.size(); b++) moved[b] = base[b] + p;
        return moved.data();
    }
    static int64_t count_bonds(const Sum& sum) {
        int64_t n = 0;
        for (int t = 0; t < sum.n_terms; t++) n += sum.n_bonds[t];
        return n;
    }
};

struct Sweep {
    const Network& net;
    const Geometry& lattice;
    const Tile* tile = nullptr;
    int64_t halo = 0;
    bool finite = true;  // whether the field was finite so far
    std::vector<int64_t> forward_delay, backward_delay;
    Rows field;
    // For each layer: outputs, f', dE/d(output), and dE/d(input of f).
    std::vector<Rows> x, slope, gradient, pulled;
    // Scratch memory of one group of sites, [channels, GROUP].
    std::vector<float> functions, functions_gradient, hidden, out;
    Places near, classical;

    Sweep(const Network& net, const Geometry& lattice) : net(net), lattice(lattice) {
        const int n = net.n_layers;
        int64_t length = 0, most_hidden = 0, most_out = 0;
        for (int k = 0; k < lattice.n_tiles; k++) length = std::max(length, lattice.tiles[k].length);
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
        // A buffer is as deep as the delay between the writer of a row and its last reader, plus one.
        field.resize(net.n_sublattices, length, halo + net.classical_reach + 1);
        x.resize(n), slope.resize(n), gradient.resize(n), pulled.resize(n);
        for (int l = 0; l < n; l++) {
            const Layer& layer = net.layers[l];
            const int64_t next = l + 1 < n ? net.layers[l + 1].reach : 0;
            if (l + 1 < n) x[l].resize(layer.n_out, length, forward_delay[l + 1] + next - forward_delay[l] + 1);
            if (net.conservative) {
                slope[l].resize(layer.n_hidden, length, backward_delay[l] - forward_delay[l] + 1);
                pulled[l].resize(layer.n_hidden, length, 2 * layer.reach + 1);
                if (l + 1 < n) gradient[l].resize(layer.n_out, length, layer.reach + 1);
            }
            for (int d = 0; d < net.n_sublattices; d++) {
                most_hidden = std::max<int64_t>(most_hidden, layer.first_hidden[d + 1] - layer.first_hidden[d]);
                most_out = std::max<int64_t>(most_out, layer.first_out[d + 1] - layer.first_out[d]);
            }
        }
        functions.assign((net.n_steps + 1 + net.n_bumps) * GROUP, 0.0f);
        functions_gradient = functions;
        hidden.assign(most_hidden * GROUP, 0.0f);
        out.assign(std::max<int64_t>(most_out, 1) * GROUP, 0.0f);
    }

    bool outside(int64_t row) const { return !lattice.periodic_rows && (row < 0 || row >= lattice.n_rows); }

    void add_here(const Sum& sum, const float* x, float* result) { add(sum, &x, GROUP, result); }

    // Gather one row of the field from the order of sites (sublattices fastest) into one array per sublattice.
    void load_field(const float* values, int64_t row) {
        const int64_t source = ((row % lattice.n_rows) + lattice.n_rows) % lattice.n_rows;
        const float* from = values + source * lattice.row_cells * net.n_sublattices;
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
            for (int k = 0; k < net.n_steps; k++) store(f + k * GROUP + u * LANES, tanh(value * net.steps[k]));
            store(f + net.n_steps * GROUP + u * LANES, value * net.slope);
            for (int k = 0; k < net.n_bumps; k++) {
                const vec y = value * net.bumps[k];
                store(f + (net.n_steps + 1 + k) * GROUP + u * LANES, exp2(y * y * (-0.5f * LOG2E)));
            }
        }
    }

    // Layer l for a group of cells at slot p of sublattice d. The output stays in `out`, and in x[l] for the
    // next layer; slope[l] gets the derivative of the nonlinearity if there is a way back.
    void forward(int l, int64_t row, int64_t p, int d) {
        const Layer& layer = net.layers[l];
        const int n_hidden = layer.first_hidden[d + 1] - layer.first_hidden[d];
        const int n_out = layer.first_out[d + 1] - layer.first_out[d];
        float* h = hidden.data();
        for (int k = 0; k < n_hidden; k++)
            for (int u = 0; u < UNROLL; u++)
                store(h + k * GROUP + u * LANES, splat(layer.bias[layer.first_hidden[d] + k]));
        if (l == 0) {
            evaluate_functions(field.at(row, d) + p);
            add_here(layer.convolution[d], functions.data(), h);
        } else {
            add(layer.convolution[d], near.at(p), x[l - 1].length, h);
        }
        float* s = net.conservative ? slope[l].at(row, layer.first_hidden[d]) + p : nullptr;
        for (int k = 0; k < n_hidden; k++)
            for (int u = 0; u < UNROLL; u++) {
                // SiLU is a * sigmoid(a); its derivative is sigmoid(a) * (1 + a * (1 - sigmoid(a))).
                const vec a = load(h + k * GROUP + u * LANES), sig = layer.silu ? sigmoid(a) : splat(1.0f);
                store(h + k * GROUP + u * LANES, a * sig);
                if (s) store(s + k * slope[l].length + u * LANES, sig * (1.0f + a * (1.0f - sig)));
            }
        fetch(layer.residual ? &x[l - 1] : nullptr, row, layer.first_out[d], p, n_out);
        for (int k = 0; k < n_out; k++)
            for (int i = 0; i < GROUP; i++) out[k * GROUP + i] += layer.out_bias[layer.first_out[d] + k];
        add_here(layer.mixing[d], h, out.data());
        if (l + 1 < net.n_layers) keep(x[l], row, layer.first_out[d], p, n_out);
    }

    // Copy a group of cells from ring buffer rows to `out`, or set it to zero without rows.
    void fetch(Rows* rows, int64_t row, int64_t channel, int64_t p, int n) {
        if (!rows) return void(std::fill_n(out.data(), n * GROUP, 0.0f));
        const float* from = rows->at(row, channel) + p;
        for (int k = 0; k < n; k++) std::memcpy(out.data() + k * GROUP, from + k * rows->length, 4 * GROUP);
    }
    // Copy a group of cells from `out` to ring buffer rows.
    void keep(Rows& rows, int64_t row, int64_t channel, int64_t p, int n) {
        float* to = rows.at(row, channel) + p;
        for (int k = 0; k < n; k++) std::memcpy(to + k * rows.length, out.data() + k * GROUP, 4 * GROUP);
    }

    // From dE/d(output) of layer l, in `out`, to dE/d(input of f), in `hidden` and pulled[l].
    void pull_through(int l, int64_t row, int64_t p, int d) {
        const Layer& layer = net.layers[l];
        const int n_hidden = layer.first_hidden[d + 1] - layer.first_hidden[d];
        std::fill_n(hidden.data(), n_hidden * GROUP, 0.0f);
        add_here(layer.back_mixing[d], out.data(), hidden.data());
        const float* s = slope[l].at(row, layer.first_hidden[d]) + p;
        float* g = pulled[l].at(row, layer.first_hidden[d]) + p;
        for (int k = 0; k < n_hidden; k++)
            for (int u = 0; u < UNROLL; u++) {
                float* h = hidden.data() + k * GROUP + u * LANES;
                store(h, load(h) * load(s + k * slope[l].length + u * LANES));
                store(g + k * pulled[l].length + u * LANES, load(h));
            }
    }

    // dE/d(output) of layer l from that of layer l + 1, then through its own nonlinearity.
    void backward(int l, int64_t row, int64_t p, int d) {
        const Layer &layer = net.layers[l], &next = net.layers[l + 1];
        const int n_out = layer.first_out[d + 1] - layer.first_out[d];
        fetch(next.residual ? &gradient[l + 1] : nullptr, row, layer.first_out[d], p, n_out);
        add(next.back_convolution[d], near.at(p), pulled[l + 1].length, out.data());
        keep(gradient[l], row, layer.first_out[d], p, n_out);
        pull_through(l, row, p, d);
    }

    // Add the linear classical force, from the rows of the field.
    void add_classical(int64_t p, int d, float* result) {
        if (net.classical) add(net.classical[d], classical.at(p), field.length, result);
    }

    // Scatter a group of forces to the order of sites; cells outside the core belong to another tile.
    void write(const float* result, int64_t row, int64_t p, int d, float* forces) {
        float* to = forces + row * lattice.row_cells * net.n_sublattices + d;
        for (int i = 0; i < GROUP && p + i < tile->end; i++)
            if (tile->core[p + i]) to[tile->cells[p + i] * net.n_sublattices] = result[i];
    }

    // Forces of a direct head, from the last layer's output: bound * tanh(y) and the classical force.
    void give_direct(int64_t row, int64_t p, int d, float* forces) {
        float* y = out.data();
        if (net.bound > 0)
            for (int u = 0; u < UNROLL; u++) store(y + u * LANES, net.bound * tanh(load(y + u * LANES)));
        add_classical(p, d, y);
        write(y, row, p, d, forces);
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
        for (int i = 0; i < GROUP && p + i < tile->end; i++)
            if (tile->core[p + i]) energy += total[i];
    }

    // Forces of an energy head: chain rule through the functions of the field, from `hidden` of layer 0.
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
            if (l > 0) near.find(net.layers[l].convolution[d], x[l - 1], row);
            if (last && net.classical) classical.find(net.classical[d], field, row);
            for (int64_t p = tile->begin; p < tile->end; p += GROUP) {
                forward(l, row, p, d);
                if (!last) continue;
                if (!net.conservative) {
                    give_direct(row, p, d, forces);
                    continue;
                }
                if (wanted) add_energy(row, p, d, energy);
                std::fill_n(out.data(), GROUP, 1.0f);
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
            near.find(net.layers[l + 1].back_convolution[d], pulled[l + 1], row);
            if (l == 0 && net.classical) classical.find(net.classical[d], field, row);
            for (int64_t p = tile->begin; p < tile->end; p += GROUP) {
                backward(l, row, p, d);
                if (l == 0) give_gradient(row, p, d, forces);
            }
        }
        if (l > 0) close(pulled[l], row);
    }

    // Forces and energies of the rows [first, last) of one tile.
    void run(const Tile& piece, int64_t first, int64_t last, const float* values, float* forces,
             double* energies) {
        tile = &piece;
        // Rows in the halo on both sides are computed again by each thread, as far as a later row needs them.
        for (int64_t t = first - halo; t < last + halo; t++) {
            load_field(values, t);
            for (int l = 0; l < net.n_layers; l++) {
                const int64_t row = t - forward_delay[l];
                if (row < first - halo + forward_delay[l] || row >= last + halo - forward_delay[l]) continue;
                forward_row(l, row, forces, energies, row >= first && row < last);
            }
            for (int l = net.n_layers - 2; net.conservative && l >= 0; l--) {
                const int64_t row = t - backward_delay[l];
                if (row >= first - halo + backward_delay[l] && row < last + halo - backward_delay[l])
                    backward_row(l, row, forces);
            }
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

// Forces [batch, sites] of fields [batch, sites], and energies [batch, tiles, rows] if the network has
// energies. Returns whether all fields are finite.
int32_t lattgnn_forces(void* handle, const float* fields, float* forces, double* energies, int64_t batch,
                       int32_t n_threads) {
    Plan& plan = *static_cast<Plan*>(handle);
    const std::lock_guard<std::mutex> lock(plan.busy);
    const Geometry& g = plan.lattice;
    const int64_t units = batch * g.n_tiles, n_sites = g.n_rows * g.row_cells * plan.net.n_sublattices;
    if (plan.sweeps.empty()) plan.sweeps.push_back(std::make_unique<Sweep>(plan.net, plan.lattice));
    // A unit is one tile of one sample. Where units do not divide evenly among threads, rows are cut as well,
    // but not into pieces shorter than twice the halo: those would mostly repeat work of their neighbors.
    const int64_t most = std::max<int64_t>(1, g.n_rows / std::max<int64_t>(1, 2 * plan.sweeps[0]->halo));
    const int64_t pieces = units % n_threads == 0 ? 1 : std::min<int64_t>(n_threads, most);
    const int64_t total = units * pieces, used = std::min<int64_t>(n_threads, total);
    while (static_cast<int64_t>(plan.sweeps.size()) < used)
        plan.sweeps.push_back(std::make_unique<Sweep>(plan.net, plan.lattice));
    std::atomic<int64_t> next{0};
    auto work = [&](Sweep* sweep) {
        // Threads take the next piece when they are free, so that a slow one does not hold up the others.
        for (int64_t k; (k = next++) < total;) {
            const int64_t unit = k / pieces, piece = k % pieces, sample = unit / g.n_tiles;
            sweep->run(g.tiles[unit % g.n_tiles], g.n_rows * piece / pieces, g.n_rows * (piece + 1) / pieces,
                       fields + sample * n_sites, forces + sample * n_sites,
                       energies ? energies + unit * g.n_rows : nullptr);
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
