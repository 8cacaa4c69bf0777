// Sums over the bonds of a group of cells, and the rows of cells that they read.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "lanes.h"
#include "network.h"
#include "spins.h"

namespace {

// out[o] += the Sum for a group of cells, outputs first ... first + N - 1. x[b] points to the first
// channel of bond b at the first cell, and channels are `stride` floats apart.
//
// N is a template argument so that all accumulators stay in registers: each weight is then used
// twice, and each input N times, per load.
template <int N>
void add_products(const Sum& sum, int first, const float* const* x, int64_t stride, float* out) {
    static_assert(UNROLL == 2);
    vec left[N], right[N];  // in registers, because every loop over them is unrolled
    out += first * GROUP;
#pragma GCC unroll 16
    for (int o = 0; o < N; o++)
        left[o] = load(out + o * GROUP), right[o] = load(out + o * GROUP + LANES);
    const float* w = sum.weights + first;
    for (int t = 0; t < sum.n_terms; t++) {
        const int n = sum.n_bonds[t];
        for (int64_t c = 0, end = sum.n_channels[t] * stride; c < end;
             c += stride, w += sum.n_out) {
            vec a = load(x[0] + c), b = load(x[0] + c + LANES);
            for (int k = 1; k < n; k++) a += load(x[k] + c), b += load(x[k] + c + LANES);
#pragma GCC unroll 16
            for (int o = 0; o < N; o++) left[o] += w[o] * a, right[o] += w[o] * b;
        }
        x += n;
    }
#pragma GCC unroll 16
    for (int o = 0; o < N; o++)
        store(out + o * GROUP, left[o]), store(out + o * GROUP + LANES, right[o]);
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

// A ring buffer with the last `depth` rows of some channels, [depth, n_channels, length]. Row r is
// at r mod depth. Rows may be negative: a sweep starts before row 0.
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
            base.push_back(rows.at(row + sum.bonds[3 * b + 1], sum.bonds[3 * b]) +
                           sum.bonds[3 * b + 2]);
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

// Addresses of the spins at the other ends of all bonds of a sublattice, for one row, first
// arriving, then leaving bonds; and at the ends of leaving bonds those of dE/d(functions), of the
// first invariant and the first vector.
struct SpinPlaces {
    std::vector<const float*> base, moved, even, odd, moved_even, moved_odd;
    void find(const SpinBonds& bonds, Rows& field, int64_t row, Rows* gradient = nullptr) {
        base.clear(), even.clear(), odd.clear();
        for (int64_t b = 0; b < bonds.n_arriving; b++) {
            const int64_t* bond = bonds.arriving + 3 * b;
            base.push_back(field.at(row + bond[1], bond[0]) + bond[2]);
        }
        for (int64_t b = 0; gradient && b < bonds.n_leaving; b++) {
            const int64_t* bond = bonds.leaving + 6 * b;
            base.push_back(field.at(row + bond[1], bond[0]) + bond[2]);
            even.push_back(gradient->at(row + bond[1], bond[3]) + bond[2]);
            odd.push_back(gradient->at(row + bond[1], bond[4]) + bond[2]);
        }
    }
    const float* const* at(int64_t p) { return shifted(base, p, moved); }
    const float* const* evens_at(int64_t p) { return shifted(even, p, moved_even); }
    const float* const* odds_at(int64_t p) { return shifted(odd, p, moved_odd); }
    static const float* const* shifted(const std::vector<const float*>& from, int64_t p,
                                       std::vector<const float*>& to) {
        to.resize(from.size());
        for (size_t b = 0; b < from.size(); b++) to[b] = from[b] + p;
        return to.data();
    }
};

}  // namespace
