// What a network of spins reads: functions of x = S_i.S_j on the bonds j -> i, and their gradient.
//
// For each orbit of bonds that end on site i there are N_FUNCTIONS invariants, sum_j f_k(x), and as
// many vectors, sum_j f_k(x) S_j. The first vector is S_i itself. See `lattgnn.nn.SpinBasis`.

#pragma once

#include <cstdint>

#include "lanes.h"

extern "C" {

// The bonds of one sublattice, sorted by orbit. Shifts lead from the site of the sublattice to the
// other end.
struct SpinBonds {
    int32_t n_orbits, n_arriving, n_leaving;
    const int64_t* n_bonds;  // [n_orbits]: arriving bonds of each orbit
    // [n_arriving, 3]: field channel of the source, shift in rows, shift in slots
    const int64_t* arriving;
    // [n_leaving, 6]: field channel of the destination, shift in rows, shift in slots, gradient
    // channels of the first invariant and of the x component of the first vector of this orbit,
    // number of vectors
    const int64_t* leaving;
};
}

namespace {

constexpr int N_FUNCTIONS = 5;
// Channels of the field on each site: a unit vector, the length, and 1 (0 beyond an open boundary).
constexpr int SPIN_CHANNELS = 5, LENGTH = 3, PRESENT = 4;

struct Vector {
    vec x, y, z;
};
inline vec operator*(const Vector& a, const Vector& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vector load_vector(const float* x, int64_t stride) {
    return {load(x), load(x + stride), load(x + 2 * stride)};
}
inline void add_scaled(Vector& a, vec factor, const Vector& b) {
    a.x += factor * b.x, a.y += factor * b.y, a.z += factor * b.z;
}

// P_1 ... P_4, scaled, and the hopping amplitude of an electron whose spin follows S.
inline void spin_functions(vec x, vec* f) {
    const vec square = x * x;
    f[0] = 1.7f * x;
    f[1] = 3.4f * square - 1.1f;
    f[2] = 2.6f * (x * (2.5f * square - 1.5f));
    f[3] = 3.0f * ((4.375f * square - 3.75f) * square + 0.375f);
    f[4] = sqrt(0.5f * (1.02f + x));
}
// The derivatives of these functions, given the last function.
inline void spin_slopes(vec x, vec hop, vec* slope) {
    const vec square = x * x;
    slope[0] = splat(1.7f);
    slope[1] = 6.8f * x;
    slope[2] = 19.5f * square - 3.9f;
    slope[3] = x * (52.5f * square - 22.5f);
    slope[4] = reciprocal(4.0f * hop);
}

// All functions of a group of cells, as the channels [invariants | x | y | z]. `own` points to the
// spin of the first cell and `sources[b]` to that at the other end of bond b; channels are `stride`
// floats apart. At open boundaries the functions of bonds that do not exist are left out.
inline void evaluate_spins(const SpinBonds& bonds, const float* own, const float* const* sources,
                           int64_t stride, bool open, float* functions) {
    const int64_t n = N_FUNCTIONS * bonds.n_orbits;
    float* vectors[3] = {functions + n * GROUP, functions + (2 * n + 1) * GROUP,
                         functions + (3 * n + 2) * GROUP};
    for (int64_t u = 0; u < GROUP; u += LANES) {
        const Vector s = load_vector(own + u, stride);
        store(vectors[0] + u, s.x), store(vectors[1] + u, s.y), store(vectors[2] + u, s.z);
        for (int64_t orbit = 0, b = 0; orbit < bonds.n_orbits; orbit++) {
            vec even[N_FUNCTIONS] = {};
            Vector odd[N_FUNCTIONS] = {};
            for (const int64_t end = b + bonds.n_bonds[orbit]; b < end; b++) {
                const Vector other = load_vector(sources[b] + u, stride);
                vec f[N_FUNCTIONS];
                spin_functions(s * other, f);
                const vec present = open ? load(sources[b] + u + PRESENT * stride) : splat(1.0f);
                for (int k = 0; k < N_FUNCTIONS; k++) {
                    even[k] += present * f[k];
                    add_scaled(odd[k], f[k], other);  // a spin that does not exist is 0
                }
            }
            for (int k = 0; k < N_FUNCTIONS; k++) {
                const int64_t at = (N_FUNCTIONS * orbit + k) * GROUP + u;
                store(functions + at, even[k]);
                store(vectors[0] + at + GROUP, odd[k].x);
                store(vectors[1] + at + GROUP, odd[k].y);
                store(vectors[2] + at + GROUP, odd[k].z);
            }
        }
    }
}

// dE/dS_i of one vector of cells, from dE/d(functions) at both ends of its bonds. `gradient` points
// to the gradient of the first function on the site itself, `spins[b]` to the spin at the other end
// of bond b, first all arriving bonds, then the leaving ones; `evens[b]` and `odds[b]` to the
// gradients of the functions at the end of leaving bond b. These are `step` floats apart.
inline Vector spin_gradient(const SpinBonds& bonds, const float* own, const float* gradient,
                            const float* const* spins, const float* const* evens,
                            const float* const* odds, int64_t stride, int64_t step) {
    const int64_t n = N_FUNCTIONS * bonds.n_orbits;
    const Vector s = load_vector(own, stride);
    const float* odd = gradient + n * step;
    const int64_t next = (n + 1) * step;  // from one component of a vector to the next
    Vector total = load_vector(odd, next);
    // From functions on the site itself: x = S_i.S_j.
    for (int64_t orbit = 0, b = 0; orbit < bonds.n_orbits; orbit++)
        for (const int64_t end = b + bonds.n_bonds[orbit]; b < end; b++) {
            const Vector other = load_vector(spins[b], stride);
            const vec x = s * other;
            vec f[N_FUNCTIONS], slope[N_FUNCTIONS], by_x = {};
            spin_functions(x, f);
            spin_slopes(x, f[N_FUNCTIONS - 1], slope);
            for (int k = 0; k < N_FUNCTIONS; k++) {
                const int64_t at = (N_FUNCTIONS * orbit + k) * step;
                const vec both = load(gradient + at) + load_vector(odd + at + step, next) * other;
                by_x += slope[k] * both;
            }
            add_scaled(total, by_x, other);
        }
    // From functions at the other ends, where this spin is the source: x and f_k(x) S_i.
    for (int64_t b = 0; b < bonds.n_leaving; b++) {
        const Vector other = load_vector(spins[bonds.n_arriving + b], stride);
        const int64_t across = bonds.leaving[6 * b + 5] * step;
        const vec x = s * other;
        vec f[N_FUNCTIONS], slope[N_FUNCTIONS], by_x = {};
        spin_functions(x, f);
        spin_slopes(x, f[N_FUNCTIONS - 1], slope);
        for (int k = 0; k < N_FUNCTIONS; k++) {
            const Vector g = load_vector(odds[b] + k * step, across);
            by_x += slope[k] * (load(evens[b] + k * step) + g * s);
            add_scaled(total, f[k], g);
        }
        add_scaled(total, by_x, other);
    }
    return total;
}

}  // namespace
