// Noise of a counter-based generator, and updates of Langevin dynamics that use it, in one pass
// over memory.
//
// A random number depends only on (seed, step, purpose, replica, index in the replica), to the last
// bit. All arithmetic must therefore be rounded the same way in a vector and in the scalar loop
// over the remaining numbers. This is why the code says `multiply_add` and never a * b + c: a
// compiler may fuse the latter into one rounding in one place and not in another.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr int CHUNK = 128;  // counters at a time: 512 numbers, which fit the first-level cache
constexpr int64_t MIN_WORK = 1 << 16;  // fewest numbers for which another thread pays off

inline double multiply_add(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}
inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

inline uint64_t bits(double x) {
    uint64_t i;
    std::memcpy(&i, &x, sizeof i);
    return i;
}
inline double from_bits(uint64_t i) {
    double x;
    std::memcpy(&x, &i, sizeof x);
    return x;
}
// The bits of i as the mantissa of 2^52 + i, minus 2^52: exact for i < 2^52. Unlike a conversion
// instruction it needs no AVX-512 to be vectorized.
inline double to_double(uint64_t i) {
    return from_bits(i | 0x4330000000000000) - 4503599627370496.0;
}

// Philox4x32-10: Salmon, Moraes, Dror and Shaw, SC'11 (2011). Each word is the low half
// of a 64-bit integer, so that products of two words are not truncated.
struct Words {
    uint64_t a, b, c, d;
};
inline Words philox(Words x, uint64_t key) {
    constexpr uint64_t LOW = 0xffffffff;
    uint64_t k0 = key & LOW, k1 = key >> 32;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = x.a * 0xD2511F53, p1 = x.c * 0xCD9E8D57;
        x = {(p1 >> 32) ^ x.b ^ k0, p1 & LOW, (p0 >> 32) ^ x.d ^ k1, p0 & LOW};
        k0 = (k0 + 0x9E3779B9) & LOW;
        k1 = (k1 + 0xBB67AE85) & LOW;
    }
    return x;
}

// sqrt(-2 log u) of u = (word + 1/2) / 2^32: exponent and mantissa in [sqrt(1/2), sqrt(2)), then
// log((1 + s) / (1 - s)) = 2 s + s z P(z), z = s^2, with P within 4e-16.
inline double radius(uint64_t word) {
    constexpr uint64_t ROOT_HALF = 0x3fe6a09e667f3bcd, ONE = uint64_t(1) << 52;
    // Subtracting the bits of sqrt(1/2) moves the boundary between exponents there: the mantissa is
    // then nearest to 1, where the series below converges fastest.
    const uint64_t x = bits(to_double(word) + 0.5);
    // One more than the exponent, so never negative.
    const uint64_t above = (x - ROOT_HALF + ONE) >> 52;
    const double mantissa = from_bits(x - (above << 52) + ONE);
    const double exponent = to_double(above) - 33.0;
    const double s = (mantissa - 1.0) / (mantissa + 1.0), z = s * s;
    double p = 0.14616449685043406;
    p = multiply_add(p, z, 0.15331721600556042);
    p = multiply_add(p, z, 0.18182889125261723);
    p = multiply_add(p, z, 0.22222211134795081);
    p = multiply_add(p, z, 0.28571428625975487);
    p = multiply_add(p, z, 0.39999999999899505);
    p = multiply_add(p, z, 0.66666666666666696);
    const double log_mantissa = multiply_add(s * z, p, 2.0 * s);
    return std::sqrt(-2.0 * multiply_add(exponent, 0.69314718055994531, log_mantissa));
}

// cos and sin of (word + 1/2) / 2^32 turns, times r: the nearest quarter turn, and polynomials
// within 5e-18 for the eighth of a turn on either side of it.
inline void on_circle(uint64_t word, double r, double* cosine, double* sine) {
    const uint64_t quarter = (word + (uint64_t(1) << 29)) >> 30;
    const double f = (to_double(word) + 0.5) * 0x1p-30 - to_double(quarter), z = f * f;  // exact
    double s = 5.6339337815378543e-08, c = -6.3212568696285881e-09;
    s = multiply_add(s, z, -3.5986433529823099e-06);
    s = multiply_add(s, z, 0.00016044115074219091);
    s = multiply_add(s, z, -0.0046817541323409756);
    s = multiply_add(s, z, 0.079692626246043008);
    s = multiply_add(s, z, -0.64596409750624428);
    s = multiply_add(s, z, 1.5707963267948966) * f * r;
    c = multiply_add(c, z, 4.7106097267578228e-07);
    c = multiply_add(c, z, -2.520203677046026e-05);
    c = multiply_add(c, z, 0.00091926027418315576);
    c = multiply_add(c, z, -0.02086348076331121);
    c = multiply_add(c, z, 0.2536695079010467);
    c = multiply_add(c, z, -1.2337005501361697);
    c = multiply_add(c, z, 1.0) * r;
    // All ones in odd quarters, where sine and cosine are exchanged.
    const uint64_t odd = 0 - (quarter & 1);
    const uint64_t swapped = (bits(c) ^ bits(s)) & odd;
    // Signs by quarter turn: the cosine is negative in quarters 1 and 2, the sine in 2 and 3. The
    // bit of the quarter moves to bit 63, the sign of a double.
    *cosine = from_bits(bits(c) ^ swapped ^ (((quarter + 1) & 2) << 62));
    *sine = from_bits(bits(s) ^ swapped ^ ((quarter & 2) << 62));
}

}  // namespace

extern "C" {

// Which numbers: those of indices first_index ... in replicas first_replica ..., `n_draws` steps
// summed. A part of a lattice consists of rows of consecutive indices, which begin `row_stride`
// apart.
struct NoiseRequest {
    uint64_t seed, step_and_purpose;  // the step in 56 bits, the purpose in the 8 above them
    uint64_t first_replica, first_index;
    int64_t n_replicas, n_numbers;  // numbers of a replica
    int32_t n_draws, n_threads;
    int64_t row_numbers, row_stride;
};

// p <- p + kick F; Q <- Q + drift p; p <- decay p + noise x; Q <- Q + drift_after p. A positive
// friction takes the place of decay: p <- p - friction p + noise x, without rounding a small change
// away.
struct Update {
    double kick, drift, decay, noise, drift_after, friction;
};

}  // extern "C"

namespace {

// The numbers 4 * first, 4 * first + 1, ... of a replica: four per counter, as two Box–Muller
// pairs.
void normals(uint64_t seed, uint64_t step_and_purpose, uint64_t replica, uint64_t first,
             int n_counters, double* numbers) {
    const uint64_t low = step_and_purpose & 0xffffffff, high = step_and_purpose >> 32;
    for (int i = 0; i < n_counters; i++) {
        const Words words = philox({first + i, replica, low, high}, seed);
        on_circle(words.b, radius(words.a), numbers + 4 * i, numbers + 4 * i + 1);
        on_circle(words.d, radius(words.c), numbers + 4 * i + 2, numbers + 4 * i + 3);
    }
}

// Pieces of at most 4 * CHUNK numbers that a row needs, wherever it begins within a counter.
inline int64_t pieces_of_row(const NoiseRequest& request) {
    const bool one_row = request.row_numbers >= request.n_numbers;
    const int64_t start = one_row ? request.first_index % 4 : 3;
    return (request.row_numbers + start + 4 * CHUNK - 1) / (4 * CHUNK);
}

// Call visit(offset, count, numbers) for the pieces first_piece ... last_piece - 1, of at most
// 4 * CHUNK numbers.
template <typename Visit>
void for_pieces(const NoiseRequest& request, int64_t first_piece, int64_t last_piece, Visit visit) {
    alignas(64) double numbers[4 * CHUNK] = {}, more[4 * CHUNK];
    const int64_t n_rows = request.n_numbers / request.row_numbers,
                  n_pieces = pieces_of_row(request);
    for (int64_t piece = first_piece; piece < last_piece; piece++) {
        const int64_t row = piece / n_pieces,
                      place = piece % n_pieces * 4 * CHUNK;  // rows of all replicas
        const int64_t replica = row / n_rows;
        const uint64_t first = request.first_index + row % n_rows * request.row_stride;
        const uint64_t start = first % 4;  // generated, but skipped: they precede the first number
        const int64_t skip = place == 0 ? start : 0, begin = place + skip - start;
        const int64_t count = std::min<int64_t>(4 * CHUNK - skip, request.row_numbers - begin);
        if (count <= 0) continue;  // this row fills one piece less than others
        const uint64_t counter = (first + begin) / 4;
        const int n_counters = (skip + count + 3) / 4;
        for (int32_t k = 0; k < request.n_draws; k++) {
            normals(request.seed, request.step_and_purpose + k, request.first_replica + replica,
                    counter, n_counters, k == 0 ? numbers : more);
            for (int i = 0; k > 0 && i < 4 * n_counters; i++) numbers[i] += more[i];
        }
        visit(row * request.row_numbers + begin, count, numbers + skip);
    }
}

template <typename Visit>
void for_all(const NoiseRequest& request, Visit visit) {
    const int64_t n_rows = request.n_numbers / request.row_numbers * request.n_replicas;
    const int64_t n_pieces = pieces_of_row(request) * n_rows;
    const int64_t worth = request.n_replicas * request.n_numbers / MIN_WORK;
    const int64_t n_threads = std::max<int64_t>(1, std::min<int64_t>(request.n_threads, worth));
    std::vector<std::thread> others;
    for (int64_t t = 1; t < n_threads; t++) {
        others.emplace_back([=, &request] {
            for_pieces(request, n_pieces * t / n_threads, n_pieces * (t + 1) / n_threads, visit);
        });
    }
    for_pieces(request, 0, n_pieces / n_threads, visit);
    for (std::thread& other : others) other.join();
}

template <typename T>
struct Arrays {
    const T *field, *momentum, *forces;
    T *new_field, *new_momentum;
};

// Old and new arrays may be the same.
template <bool DRIFTS, typename T>
void update_piece(const Update& update, const Arrays<T>& x, int64_t offset, int64_t count,
                  const double* numbers) {
    const T kick = update.kick, drift = update.drift, decay = update.decay, noise = update.noise;
    const T drift_after = update.drift_after;
    const T *momentum = x.momentum + offset, *forces = x.forces + offset;
    const T* field = DRIFTS ? x.field + offset : nullptr;
    T *new_momentum = x.new_momentum + offset, *new_field = DRIFTS ? x.new_field + offset : nullptr;
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++) {
        const T kicked = multiply_add(forces[i], kick, momentum[i]);
        const T after = multiply_add(T(numbers[i]), noise, kicked * decay);
        if (DRIFTS)
            new_field[i] = multiply_add(after, drift_after, multiply_add(kicked, drift, field[i]));
        new_momentum[i] = after;
    }
}

// The constants that spread the words below: 2^32 over the golden ratio for steps, so that the
// words of consecutive steps fill [0, 2^32) evenly, and odd constants of hash functions for indices
// and replicas.
constexpr uint32_t PER_STEP = 0x9E3779B9, PER_INDEX = 0x85EBCA6B, PER_REPLICA = 0xC2B2AE35;

// x in single precision, rounded up or down depending on a word, so that the mean over all words is
// x itself.
template <typename T>
inline T rounded(double x, uint32_t word) {
    if (sizeof(T) == sizeof(double)) return x;
    const double spacing = from_bits(bits(x) & 0x7ff0000000000000) * 0x1p-23;  // of floats near x
    return T(x + spacing * ((to_double(word) + 0.5) * 0x1p-32 - 0.5));
}

// As update_piece, with friction in place of decay. In single precision a friction of 1e-7 is about
// one rounding error. It is therefore applied in double precision, and the rounding does it justice
// in the mean.
template <bool DRIFTS, typename T>
void update_slowly(const Update& update, const NoiseRequest& request, const Arrays<T>& x,
                   int64_t offset, int64_t count, const double* numbers) {
    const T kick = update.kick, drift = update.drift, drift_after = update.drift_after;
    const uint32_t replica = request.first_replica + offset / request.n_numbers;
    const int64_t place = offset % request.n_numbers, row = place / request.row_numbers;
    const uint32_t first =
        request.first_index + row * request.row_stride + place % request.row_numbers;
    const uint32_t word =
        uint32_t(request.step_and_purpose) * PER_STEP + replica * PER_REPLICA + first * PER_INDEX;
    const T *momentum = x.momentum + offset, *forces = x.forces + offset;
    const T* field = DRIFTS ? x.field + offset : nullptr;
    T *new_momentum = x.new_momentum + offset, *new_field = DRIFTS ? x.new_field + offset : nullptr;
#pragma GCC ivdep
    for (int64_t i = 0; i < count; i++) {
        const T kicked = multiply_add(forces[i], kick, momentum[i]);
        const double slowed = multiply_add(-update.friction, double(kicked), double(kicked));
        const double exact = multiply_add(numbers[i], update.noise, slowed);
        const T after = rounded<T>(exact, word + uint32_t(i) * PER_INDEX);
        if (DRIFTS)
            new_field[i] = multiply_add(after, drift_after, multiply_add(kicked, drift, field[i]));
        new_momentum[i] = after;
    }
}

template <typename T>
void update_all(const NoiseRequest& request, const Update& update, const Arrays<T>& x) {
    for_all(request, [=, &request](int64_t offset, int64_t count, const double* numbers) {
        if (update.friction > 0 && x.field) {
            update_slowly<true>(update, request, x, offset, count, numbers);
        } else if (update.friction > 0) {
            update_slowly<false>(update, request, x, offset, count, numbers);
        } else if (x.field) {
            update_piece<true>(update, x, offset, count, numbers);
        } else {
            update_piece<false>(update, x, offset, count, numbers);
        }
    });
}

template <typename T>
int32_t within(const T* values, int64_t n, double limit) {
    const T bound = std::min<double>(limit, std::numeric_limits<T>::max());
    int32_t outside = 0;
    for (int64_t i = 0; i < n; i++) outside |= !(std::abs(values[i]) <= bound);  // true for NaN
    return !outside;
}

}  // namespace

extern "C" {

void langevin_philox(const uint32_t* counter, const uint32_t* key, uint32_t* words) {
    const Words x =
        philox({counter[0], counter[1], counter[2], counter[3]}, key[0] | uint64_t(key[1]) << 32);
    words[0] = x.a, words[1] = x.b, words[2] = x.c, words[3] = x.d;
}

void langevin_noise(const NoiseRequest* request, double* out) {
    for_all(*request, [=](int64_t offset, int64_t count, const double* numbers) {
        std::copy_n(numbers, count, out + offset);
    });
}

// A field that is null stays where it is; old and new arrays may be the same.
void langevin_update_float32(const NoiseRequest* request, const Update* update, const float* field,
                             const float* momentum, const float* forces, float* new_field,
                             float* new_momentum) {
    update_all<float>(*request, *update, {field, momentum, forces, new_field, new_momentum});
}
void langevin_update_float64(const NoiseRequest* request, const Update* update, const double* field,
                             const double* momentum, const double* forces, double* new_field,
                             double* new_momentum) {
    update_all<double>(*request, *update, {field, momentum, forces, new_field, new_momentum});
}

// Whether all values are finite and within +-limit.
int32_t langevin_within_float32(const float* values, int64_t n, double limit) {
    return within(values, n, limit);
}
int32_t langevin_within_float64(const double* values, int64_t n, double limit) {
    return within(values, n, limit);
}

}  // extern "C"
