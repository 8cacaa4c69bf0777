// A network and a lattice as the tables that `lattgnn/backends/native_plan.py` fills.

#pragma once

#include <cstdint>

#include "spins.h"

extern "C" {

// The sum over terms t and channels c of weights[t, c, :] * (sum of x[c, row, slot] over the bonds
// of t). Bonds that share a matrix are one term: their sources are added before the multiplication.
struct Sum {
    int32_t n_terms, n_out;
    const int32_t* n_bonds;     // [n_terms]
    const int32_t* n_channels;  // [n_terms]
    const int64_t* bonds;       // [all bonds, 3]: first channel, shift in rows, shift in slots
    const float* weights;       // [all channels of all terms, n_out]
};

// Channels of one site that share a factor: h = x[channel] + square * (sum of x[member]^2), then
// SiLU(h) in place of x[channel], and x[member] * sigmoid(h). Channels are counted from the first
// one of the sublattice.
struct Gate {
    int32_t channel, n_members;
    const int32_t* members;  // [n_members]
    float square;
};

// What the nonlinearity does with a channel; the channels of gates and their members are GATED.
enum Kind : int32_t { IDENTITY, SILU, GATED };

// x -> (x +) out_bias + mixing f(bias + convolution x) with a nonlinearity f.
//
// The channels of a sublattice form `n_parts` parts, one after the other: a scalar network has one,
// a network of spins has four, the invariants and the x, y and z components of vectors. A linear
// map does not mix parts, and there is one Sum for each. Part k of sublattice d has the number
// n_parts * d + k. `back_` are the transposed sums of the gradient.
struct Layer {
    int32_t n_hidden, n_out;  // channels of a cell, over all sublattices
    int32_t residual, reach;  // reach: rows that a bond spans
    const int32_t *first_hidden, *first_out;  // [all parts + 1]
    const float *bias, *out_bias;             // [n_hidden], [n_out]
    const Sum *convolution, *mixing, *back_convolution, *back_mixing;  // [all parts]
    const int32_t* kinds;       // [n_hidden]
    const int32_t* first_gate;  // [n_sublattices + 1]
    const Gate* gates;
};

struct Network {
    int32_t n_sublattices, n_parts, n_layers, n_steps, n_bumps;
    const float *steps, *bumps;  // 1 / width of each function of the field
    float slope, bound;          // of the linear function; bound 0 is none
    int32_t conservative, tangent, classical_reach;
    int32_t field_reach;            // rows that the functions of the field span
    const int32_t* first_function;  // [all parts + 1]: functions of the field, the input of layer 0
    const Layer* layers;
    const Sum* classical;    // [n_sublattices], n_out = 1, or null
    const SpinBonds* spins;  // [n_sublattices], or null for scalars
};

// A part of a row, as `length` slots: its cells, those beyond its ends, and a margin on both sides
// that vectors may touch. Slots [begin, end) are computed.
struct Tile {
    int64_t length, begin, end, n_copies;
    const int32_t* cells;   // [length]: cell of the row in each slot, -1 for none
    const int32_t* copies;  // [n_copies, 2]: slots beyond a boundary, and those that they copy
    const int32_t* core;    // [length]: 1 where the result belongs to this tile
};

struct Geometry {
    int64_t n_rows, row_cells, n_tiles;
    int32_t periodic_rows, open;  // open: whether any boundary is open
    const Tile* tiles;
};
}
