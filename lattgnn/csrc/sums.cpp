// Sums over the bonds of each orbit, used in training.
//
// Features are [channels, sites, samples]: the samples of a batch fill the lanes of a vector, so
// that any lattice, with any neighbors, vectorizes.

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

// One [n_sites, n_sources] matrix per orbit, stacked by rows, in compressed sparse row (CSR) form.
struct Orbits {
    const int64_t *starts, *columns;
    const float* values;
    int64_t n_orbits, n_sites;
};

typedef float vec __attribute__((vector_size(32), aligned(4), may_alias));

// Sums over the bonds of each site, for one channel and one orbit, eight samples at a time.
void add_bonds(const Orbits& m, int64_t orbit, int64_t n_samples, const float* x, float* out) {
    const int64_t* starts = m.starts + orbit * m.n_sites;
    for (int64_t site = 0; site < m.n_sites; site++, out += n_samples) {
        const int64_t begin = starts[site], end = starts[site + 1];
        int64_t b = 0;
        for (; b + 8 <= n_samples; b += 8) {
            vec sum = {};
            for (int64_t k = begin; k < end; k++)
                sum +=
                    m.values[k] * *reinterpret_cast<const vec*>(x + m.columns[k] * n_samples + b);
            *reinterpret_cast<vec*>(out + b) = sum;
        }
        for (; b < n_samples; b++) {
            float sum = 0;
            for (int64_t k = begin; k < end; k++)
                sum += m.values[k] * x[m.columns[k] * n_samples + b];
            out[b] = sum;
        }
    }
}

}  // namespace

// out [copies + n_orbits, n_channels, n_sites, n_samples]: first a copy of x [n_channels,
// n_sources, n_samples] if `copies` is 1, which needs n_sites = n_sources, then its sums over each
// orbit. Threads share the channels; one thread is added for every 2^20 products.
extern "C" void lattgnn_sums(const int64_t* starts, const int64_t* columns, const float* values,
                             const float* x, float* out, int64_t n_orbits, int64_t n_sites,
                             int64_t n_sources, int64_t n_samples, int64_t n_channels,
                             int64_t copies, int64_t n_threads) {
    const Orbits m{starts, columns, values, n_orbits, n_sites};
    const int64_t size = n_sites * n_samples, step = n_sources * n_samples;
    const int64_t worth = starts[n_orbits * n_sites] * n_samples * n_channels >> 20;
    n_threads = std::max<int64_t>(1, std::min({n_threads, worth, n_channels}));
    auto some = [=](int64_t thread) {
        for (int64_t c = n_channels * thread / n_threads; c < n_channels * (thread + 1) / n_threads;
             c++) {
            if (copies) std::copy_n(x + c * step, step, out + c * size);
            for (int64_t orbit = 0; orbit < n_orbits; orbit++)
                add_bonds(m, orbit, n_samples, x + c * step,
                          out + ((copies + orbit) * n_channels + c) * size);
        }
    };
    std::vector<std::thread> others;
    for (int64_t thread = 1; thread < n_threads; thread++) others.emplace_back(some, thread);
    some(0);
    for (std::thread& other : others) other.join();
}
