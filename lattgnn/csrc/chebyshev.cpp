// Chebyshev recurrence on blocks of probing vectors: moments of the spectrum, and their gradient.
//
// T_{n+1} v = 2 H T_n v − T_{n−1} v with a sparse Hermitian H whose spectrum lies in [−1, 1]. A
// block holds a fixed number of vectors; their values at one state are contiguous and fill the
// lanes of the processor. Blocks are independent of each other, and their results are added in
// their order, so the bits do not depend on the threads.
//
// On large matrices the vectors do not fit into the cache. So several steps of the recurrence go
// through the rows together, each at least one bandwidth of the matrix behind the one before it.
//
// A real H does not mix the real and the imaginary part of a vector. So each part then holds a
// probing vector of its own, and real and complex matrices share all of the code below.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

typedef double lanes __attribute__((vector_size(64), may_alias));
typedef double lanes4 __attribute__((vector_size(32), may_alias));
typedef double lanes2 __attribute__((vector_size(16), may_alias));
constexpr int64_t WIDTH = 8;  // vectors in one register
constexpr int64_t STEPS = 8;  // steps that go through the rows together

// The values of the vectors of a block at one state.
struct Values {
    lanes re, im;
};

double sum(lanes v) {
    // Halves are added to each other: a loop over the lanes would move them one by one.
    lanes4 half[2];
    std::memcpy(half, &v, sizeof v);
    const lanes4 four = half[0] + half[1];
    lanes2 quarter[2];
    std::memcpy(quarter, &four, sizeof four);
    const lanes2 two = quarter[0] + quarter[1];
    return two[0] + two[1];
}

lanes product(const Values& a, const Values& b) { return a.re * b.re + a.im * b.im; }

void add_product(Values& out, double re, double im, const Values& v) {
    out.re += re * v.re;
    out.im += re * v.im;
    if (im != 0) {
        out.re -= im * v.im;
        out.im += im * v.re;
    }
}

}  // namespace

// A matrix in compressed sparse row (CSR) form, columns ascending, and one probing vector for each
// color: it is `phase` at the states of this color and 0 elsewhere. No element is farther from the
// diagonal than `bandwidth`.
struct lattgnn_probed {
    const int64_t* starts;   // [n_states + 1]
    const int64_t* columns;  // [nnz]
    const double* values;    // [nnz, 2], real and imaginary parts
    const int64_t* colors;   // [n_states]
    const double* phases;    // [n_states, 2]
    int64_t n_states, n_colors, is_complex, bandwidth;
};

// Coefficients of an energy Σ_n even_n ⟨v_n, v_n⟩ + odd_n Re⟨v_{n+1}, v_n⟩ of the vectors
// v_n = T_n v, n < n_steps.
struct lattgnn_energy {
    const double *even, *odd;  // [n_steps]
};

namespace {

class Block {
   public:
    Block(const lattgnn_probed& m, int64_t n_steps)
        : m(m),
          n_steps(n_steps),
          memory(4 * m.n_states + 1),
          moments(2 * n_steps),
          gradient(2 * m.starts[m.n_states]) {
        // Vectors begin on cache lines.
        Values* first = memory.data();
        for (int64_t k = 0; k < 4; k++) vectors[k] = first + k * m.n_states;
    }

    void run(int64_t block, const lattgnn_energy* energy) {
        start(block);
        for (int64_t n = 0; n < n_steps; n += STEPS) {
            const int64_t together = std::min(STEPS, n_steps - n);
            lanes even[STEPS] = {}, odd[STEPS] = {};
            sweep(together, [&](int64_t step, int64_t begin, int64_t end) {
                forward(n + step, begin, end, even[step], odd[step]);
            });
            for (int64_t step = 0; step < together; step++) {
                moments[2 * (n + step)] = sum(even[step]);
                moments[2 * (n + step) + 1] = sum(odd[step]);
            }
        }
        if (!energy) return;
        start_back(*energy);
        for (int64_t n = n_steps - 1; n >= 0; n -= STEPS)
            sweep(std::min(STEPS, n + 1), [&](int64_t step, int64_t begin, int64_t end) {
                step_back(n - step, *energy, begin, end);
            });
    }

   private:
    const lattgnn_probed& m;
    const int64_t n_steps;
    std::vector<Values> memory;
    Values* vectors[4];

   public:
    std::vector<double> moments;   // ⟨v_n, v_n⟩ and Re⟨v_{n+1}, v_n⟩ in turn
    std::vector<double> gradient;  // real and imaginary parts, of elements up to the diagonal

   private:
    void start(int64_t block) {
        std::memset(vectors[0], 0, sizeof(Values) * m.n_states);
        std::memset(vectors[1], 0, sizeof(Values) * m.n_states);
        const int64_t per_block = m.is_complex ? WIDTH : 2 * WIDTH;
        for (int64_t i = 0; i < m.n_states; i++) {
            const int64_t c = m.colors[i] - block * per_block;
            if (c < 0 || c >= per_block) continue;
            (c < WIDTH ? vectors[0][i].re : vectors[0][i].im)[c % WIDTH] = m.phases[2 * i];
            if (m.is_complex) vectors[0][i].im[c] = m.phases[2 * i + 1];
        }
    }

    // Some steps on all rows, in groups of rows. A step reads its own group and the two beside it.
    // The step before it has done these, and the step after it, which overwrites what this one
    // reads, has done none of them.
    template <class Step>
    void sweep(int64_t together, Step step) {
        const int64_t group = std::max<int64_t>(m.bandwidth, 64),
                      n_groups = (m.n_states + group - 1) / group;
        for (int64_t turn = 0; turn < n_groups + 2 * (together - 1); turn++)
            for (int64_t k = 0; k < together; k++) {
                const int64_t begin = (turn - 2 * k) * group;
                if (begin >= 0 && begin < m.n_states)
                    step(k, begin, std::min(begin + group, m.n_states));
            }
    }

    // From v_n and v_{n−1} to v_{n+1}, which takes the place of v_{n−1}.
    void forward(int64_t n, int64_t begin, int64_t end, lanes& even, lanes& odd) {
        const Values* v = vectors[n % 2];
        Values* other = vectors[(n + 1) % 2];
        const double factor = n ? 2 : 1;  // v_{−1} = 0
        for (int64_t i = begin; i < end; i++) {
            Values h = {};
            for (int64_t k = m.starts[i]; k < m.starts[i + 1]; k++)
                add_product(h, m.values[2 * k], m.values[2 * k + 1], v[m.columns[k]]);
            h.re = factor * h.re - other[i].re;
            h.im = factor * h.im - other[i].im;
            other[i] = h;
            even += product(v[i], v[i]);
            odd += product(v[i], h);
        }
    }

    // Reverse mode: u_n = ∂E/∂v_n, first for the last vector, v_{n_steps}.
    void start_back(const lattgnn_energy& e) {
        std::fill(gradient.begin(), gradient.end(), 0);
        const double last = e.odd[n_steps - 1];
        const Values* v = vectors[(n_steps - 1) % 2];
        Values *u = vectors[2 + n_steps % 2], *zero = vectors[2 + (n_steps + 1) % 2];
        for (int64_t i = 0; i < m.n_states; i++) {
            u[i] = {last * v[i].re, last * v[i].im};
            zero[i] = Values{};
        }
    }

    // From (v_n, v_{n+1}) and (u_{n+1}, u_{n+2}) to v_{n−1} and u_n, which take the places of
    // v_{n+1} and u_{n+2}. The vectors v_n are computed again, from the last two backward.
    void step_back(int64_t n, const lattgnn_energy& e, int64_t begin, int64_t end) {
        const Values *v = vectors[n % 2], *u = vectors[2 + (n + 1) % 2];
        Values *v_other = vectors[(n + 1) % 2], *u_other = vectors[2 + n % 2];
        const double factor = n ? 2 : 1, a = 2 * e.even[n], b = e.odd[n],
                     before = n ? e.odd[n - 1] : 0;
        for (int64_t i = begin; i < end; i++) {
            Values hv = {}, hu = {};
            for (int64_t k = m.starts[i]; k < m.starts[i + 1]; k++) {
                const int64_t j = m.columns[k];
                add_product(hv, m.values[2 * k], m.values[2 * k + 1], v[j]);
                add_product(hu, m.values[2 * k], m.values[2 * k + 1], u[j]);
                if (j > i) continue;
                // The Hermitian part of u_i* v_j, once for each pair.
                gradient[2 * k] += factor * sum(product(u[i], v[j]) + product(u[j], v[i]));
                if (m.is_complex && j < i)
                    gradient[2 * k + 1] += factor * sum(u[i].re * v[j].im - u[i].im * v[j].re +
                                                        u[j].im * v[i].re - u[j].re * v[i].im);
            }
            if (!n) continue;
            const Values left = {2 * hv.re - v_other[i].re, 2 * hv.im - v_other[i].im};
            u_other[i].re =
                2 * hu.re - u_other[i].re + a * v[i].re + b * v_other[i].re + before * left.re;
            u_other[i].im =
                2 * hu.im - u_other[i].im + a * v[i].im + b * v_other[i].im + before * left.im;
            v_other[i] = left;
        }
    }
};

}  // namespace

// The sums over all probing vectors of ⟨v_n, v_n⟩ and Re⟨v_{n+1}, v_n⟩, `moments` [n_steps, 2],
// and, unless `energy` is null, twice the gradient of the energy, in `gradient` [nnz, 2]: its
// Hermitian matrix at the elements whose column is not above their row, so that dE = ½ Σ over all
// elements of gradient · dH, with conjugates above the diagonal.
extern "C" void lattgnn_chebyshev(const lattgnn_probed* matrix, int64_t n_steps,
                                  const lattgnn_energy* energy, double* moments, double* gradient,
                                  int64_t n_threads) {
    const int64_t per_block = matrix->is_complex ? WIDTH : 2 * WIDTH;
    const int64_t n_blocks = (matrix->n_colors + per_block - 1) / per_block;
    n_threads = std::max<int64_t>(1, std::min(n_threads, n_blocks));
    std::vector<Block> workers;
    workers.reserve(n_threads);
    for (int64_t t = 0; t < n_threads; t++) workers.emplace_back(*matrix, n_steps);
    std::fill_n(moments, 2 * n_steps, 0);
    if (energy) std::fill_n(gradient, 2 * matrix->starts[matrix->n_states], 0);
    for (int64_t first = 0; first < n_blocks; first += n_threads) {
        const int64_t n = std::min(n_threads, n_blocks - first);
        std::vector<std::thread> others;
        for (int64_t t = 1; t < n; t++)
            others.emplace_back([&, t] { workers[t].run(first + t, energy); });
        workers[0].run(first, energy);
        for (std::thread& other : others) other.join();
        // Block after block, whatever the number of threads.
        for (int64_t t = 0; t < n; t++) {
            for (int64_t k = 0; k < 2 * n_steps; k++) moments[k] += workers[t].moments[k];
            if (energy)
                for (size_t k = 0; k < workers[t].gradient.size(); k++)
                    gradient[k] += workers[t].gradient[k];
        }
    }
}
