// Green's functions by message passing: the frame around generated programs.
//
// The generated part of the source defines the programs of all stages: messages, shared inverses,
// blocks. A program computes one row of cells, with consecutive cells in the lanes of a vector.
// Here a sweep goes over the rows of a tile and runs the stages of one pole one after the other,
// each as far behind the stage before as it reads ahead there:
//
//        row      t-3    t-2    t-1     t
//     messages     .      .      .     [*]
//     inverses     .      .      .     [*]
//     block of     .     [*]     .      .      reads the rows t-3 ... t-1, say
//
// Each stage keeps only the rows that are still needed, in a ring buffer, so the working set stays
// in the cache. What a stage needs beyond the edge of the tile is computed again, or, if the tile
// spans the whole axis, copied from the other end.
//
// Every cell is computed by the same operations, whatever its lane, tile or thread. Results
// therefore do not depend on any of these, to the last bit.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
constexpr int LANES = VECTOR_BYTES / sizeof(T);

typedef T V __attribute__((vector_size(VECTOR_BYTES)));
typedef T Unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));

inline V load(const T* x) { return *reinterpret_cast<const Unaligned*>(x); }
inline void store(T* x, V v) { *reinterpret_cast<Unaligned*>(x) = v; }
inline V splat(T x) { return V{} + x; }

// fma(a, x, y) = a + x y, fnma(a, x, y) = a - x y. The reciprocal of AVX-512 is an estimate of 14
// bits, whose number of right bits each Newton step doubles, in half the time of a division.
#if defined(__AVX512F__) && DOUBLE
inline V fma(V a, V x, V y) { return (V)_mm512_fmadd_pd((__m512d)x, (__m512d)y, (__m512d)a); }
inline V fnma(V a, V x, V y) { return (V)_mm512_fnmadd_pd((__m512d)x, (__m512d)y, (__m512d)a); }
inline V reciprocal(V a) {
    V x = (V)_mm512_rcp14_pd((__m512d)a);
    x = x * fnma(splat(2), a, x);
    return x * fnma(splat(2), a, x);
}
#elif defined(__AVX512F__)
inline V fma(V a, V x, V y) { return (V)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)a); }
inline V fnma(V a, V x, V y) { return (V)_mm512_fnmadd_ps((__m512)x, (__m512)y, (__m512)a); }
inline V reciprocal(V a) {
    const V x = (V)_mm512_rcp14_ps((__m512)a);
    return x * fnma(splat(2), a, x);
}
#else
#if defined(__FMA__) && DOUBLE
inline V fma(V a, V x, V y) { return (V)_mm256_fmadd_pd((__m256d)x, (__m256d)y, (__m256d)a); }
inline V fnma(V a, V x, V y) { return (V)_mm256_fnmadd_pd((__m256d)x, (__m256d)y, (__m256d)a); }
#elif defined(__FMA__)
inline V fma(V a, V x, V y) { return (V)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)a); }
inline V fnma(V a, V x, V y) { return (V)_mm256_fnmadd_ps((__m256)x, (__m256)y, (__m256)a); }
#else
inline V fma(V a, V x, V y) { return a + x * y; }
inline V fnma(V a, V x, V y) { return a - x * y; }
#endif
inline V reciprocal(V a) { return T(1) / a; }
#endif

// Rows of a buffer hold PAD numbers, the TILE cells of the tile, and PAD numbers. An array holds
// its planes one after the other in each row.
constexpr long WIDTH = PAD + TILE + PAD;
// Rows of a tile along the first axis, at most. More would leave the cache, fewer compute more
// margins.
constexpr long TILE_ROWS = 128;
// Rows of a slab of a tile, where there are three axes, at most.
constexpr long MIDDLE_ROWS = 32;

// A row that a stage reads: number of the array (0 is the input, -1 the accumulator), how far it
// lies ahead along the first two axes, and the offsets along the last axis.
struct Need {
    int array, d0, d1, low, high;
};

typedef void (*Run)(const T* const* rows, const T* parameters, T* scratch, T* out, long begin,
                    long end);

struct Stage {
    Run run;
    int n_planes, n_needs;
    const Need* needs;
};

struct Pipeline {
    int n_stages;
    const Stage* stages;
};

// Cells [begin, begin + n) along an axis.
struct Range {
    long begin, n;
};

// How far a stage computes beyond the tile, along each axis, at both ends.
struct Margin {
    long low[3] = {0, 0, 0}, high[3] = {0, 0, 0};
    void include(const Margin& of, const Need& need) {
        const int low_step[3] = {-need.d0, -need.d1, -need.low},
                  high_step[3] = {need.d0, need.d1, need.high};
        for (int axis = 0; axis < 3; axis++) {
            low[axis] = std::max(low[axis], of.low[axis] + low_step[axis]);
            high[axis] = std::max(high[axis], of.high[axis] + high_step[axis]);
        }
    }
};

// When each stage of a pipeline works, and on which cells. Entry 0 is the input, entry i is
// stage i - 1.
struct Timing {
    std::vector<Margin> margin;
    std::vector<long> delay, depth;
    explicit Timing(const Pipeline& pipeline) {
        const int n = pipeline.n_stages;
        margin.resize(n + 1), delay.assign(n + 1, 0), depth.assign(n + 1, 1);
        for (int i = n; i > 0; i--)
            for (int k = 0; k < pipeline.stages[i - 1].n_needs; k++) {
                const Need& need = pipeline.stages[i - 1].needs[k];
                if (need.array >= 0) margin[need.array].include(margin[i], need);
            }
        for (int i = 1; i <= n; i++)
            for (int k = 0; k < pipeline.stages[i - 1].n_needs; k++) {
                const Need& need = pipeline.stages[i - 1].needs[k];
                // The input is there from the start.
                if (need.array > 0) delay[i] = std::max(delay[i], delay[need.array] + need.d0);
            }
        for (int i = 1; i <= n; i++)
            for (int k = 0; k < pipeline.stages[i - 1].n_needs; k++) {
                const Need& need = pipeline.stages[i - 1].needs[k];
                if (need.array > 0) {
                    const long behind = delay[i] - need.d0 - delay[need.array];
                    depth[need.array] = std::max(depth[need.array], behind + 1);
                }
            }
    }
};

long modulo(long a, long n) { return (a % n + n) % n; }

// Rows of an array: a ring of slabs along the first axis, each with the rows along the second axis.
// The number of slabs is a power of two, so that a slab is found by its last bits; a division for
// each row that is read would take a quarter of the time.
struct Rows {
    std::vector<T> data;
    long mask = 0, slab_size = 0, row_size = 0, origin = 0;
    void resize(long n_planes, long depth, long first_row, long n_rows) {
        long slabs = 1;
        while (slabs < depth) slabs *= 2;
        row_size = n_planes * WIDTH, slab_size = n_rows * row_size, mask = slabs - 1;
        origin = PAD - first_row * row_size;
        if (long(data.size()) < slabs * slab_size) data.assign(slabs * slab_size, T(1));
    }
    T* at(long slab, long row) {
        return data.data() + ((slab & mask) * slab_size + row * row_size + origin);
    }
};

}  // namespace

// ---- programs ----

extern "C" {

// A plane of the input: scale * source[first + step * position] + shift, where the position is
// index[cell], or the number of the cell if there is no index.
struct Plane {
    const int64_t* index;
    int64_t first, step;
    double scale, shift;
};

struct Pole {
    int64_t pipeline;
    const double* parameters;
};

struct Request {
    int64_t extent[3];
    int64_t n_batch, source_size, n_input, n_out, n_poles, n_threads;
    const Plane* planes;  // [n_input]
    const Pole* poles;
    // Where plane p of the result of a cell goes: p * plane_step + cell * cell_step.
    int64_t plane_step, cell_step, out_size;
};
}

namespace {

struct Tile {
    Range rows, middle, columns;
};

// The memory of one thread.
struct Work {
    Rows input;
    std::vector<Rows> arrays;
    std::vector<T> sums, scratch = std::vector<T>(N_SCRATCH * TILE);
};

class Job {
   public:
    Job(const Request& request, const Pipeline* pipelines, const T* source, T* out)
        : request(request), pipelines(pipelines), source(source), out(out) {
        for (int k = 0; k < request.n_poles; k++)
            timing.emplace_back(pipelines[request.poles[k].pipeline]);
        for (const Timing& one : timing)
            for (int axis = 0; axis < 3; axis++) {
                margin.low[axis] = std::max(margin.low[axis], one.margin[0].low[axis]);
                margin.high[axis] = std::max(margin.high[axis], one.margin[0].high[axis]);
            }
        cut();
    }

    // Tiles of all samples are shared by the threads. Returns whether all numbers of the source are
    // finite.
    bool run(std::vector<std::unique_ptr<Work>>& free, std::mutex& lock) {
        std::atomic<long> next{0};
        std::atomic<bool> finite{true};
        const long n_tasks = long(tiles.size()) * request.n_batch;
        auto work = [&] {
            std::unique_ptr<Work> mine;
            {
                std::lock_guard<std::mutex> guard(lock);
                if (!free.empty()) mine = std::move(free.back()), free.pop_back();
            }
            if (!mine) mine = std::make_unique<Work>();
            for (long task; (task = next++) < n_tasks;)
                if (!solve(tiles[task % tiles.size()], task / tiles.size(), *mine)) finite = false;
            std::lock_guard<std::mutex> guard(lock);
            free.push_back(std::move(mine));
        };
        std::vector<std::thread> others;
        for (long k = 1; k < std::min<long>(request.n_threads, n_tasks); k++)
            others.emplace_back(work);
        work();
        for (std::thread& other : others) other.join();
        return finite;
    }

   private:
    const Request& request;
    const Pipeline* pipelines;
    const T* source;
    T* out;
    std::vector<Timing> timing;
    Margin margin;
    std::vector<Tile> tiles;

    static std::vector<Range> pieces(long extent, long most, long multiple) {
        const long n = (extent + most - 1) / most;
        const long size = ((extent + n - 1) / n + multiple - 1) / multiple * multiple;
        std::vector<Range> found;
        for (long begin = 0; begin < extent; begin += size)
            found.push_back({begin, std::min(size, extent - begin)});
        return found;
    }

    void cut() {
        const int64_t* extent = request.extent;
        const auto columns = pieces(extent[2], TILE, LANES);
        const auto middles = pieces(extent[1], MIDDLE_ROWS, 1);
        // As many tiles as threads, if one sample has to keep all of them busy.
        long n_rows = extent[1] > 1 ? TILE_ROWS / 4 : TILE_ROWS;
        const long others = long(columns.size()) * middles.size() * request.n_batch;
        if (others < request.n_threads)
            n_rows = std::min(n_rows, extent[0] * others / request.n_threads + 1);
        for (const Range& column : columns)
            for (const Range& middle : middles)
                for (const Range& row : pieces(extent[0], std::max<long>(n_rows, 8), 1))
                    tiles.push_back({row, middle, column});
    }

    bool solve(const Tile& tile, long sample, Work& work) {
        const bool finite = fill(tile, source + sample * request.source_size, work);
        work.sums.resize(
            std::max<size_t>(work.sums.size(), request.n_out * tile.rows.n * tile.middle.n * TILE));
        for (int k = 0; k < request.n_poles; k++) sweep(k, tile, work);
        write(tile, out + sample * request.out_size, work);
        return finite;
    }

    // Copy the input of a tile with its margins, so that programs read it by plain offsets.
    bool fill(const Tile& tile, const T* from, Work& work) {
        const int64_t* extent = request.extent;
        const long n_slabs = tile.rows.n + margin.low[0] + margin.high[0];
        const long n_rows = tile.middle.n + margin.low[1] + margin.high[1];
        work.input.resize(request.n_input, n_slabs, -margin.low[1], n_rows);
        const long first = tile.columns.begin - margin.low[2],
                   last = tile.columns.begin + tile.columns.n + margin.high[2];
        V bad = {};
        for (long y = -margin.low[0]; y < tile.rows.n + margin.high[0]; y++)
            for (long j = -margin.low[1]; j < tile.middle.n + margin.high[1]; j++) {
                const long row = modulo(tile.rows.begin + y, extent[0]) * extent[1] +
                                 modulo(tile.middle.begin + j, extent[1]);
                T* to = work.input.at(y, j);
                for (int p = 0; p < request.n_input; p++, to += WIDTH)
                    for (long x = first; x < last;) {
                        const long column = modulo(x, extent[2]),
                                   n = std::min(last - x, extent[2] - column);
                        copy(request.planes[p], from, row * extent[2] + column, n,
                             to + x - tile.columns.begin, bad);
                        x += n;
                    }
            }
        T sum = 0;
        for (int k = 0; k < LANES; k++) sum += bad[k];
        return sum == 0;
    }

    // Cells [cell, cell + n) of a plane. `bad` adds up x - x, which is 0 unless x is infinite or
    // NaN.
    static void copy(const Plane& plane, const T* from, long cell, long n, T* to, V& bad) {
        const T scale = plane.scale, shift = plane.shift;
        if (plane.index) {
            from += plane.first;
            for (long i = 0; i < n; i++) {
                const T x = from[plane.step * plane.index[cell + i]];
                to[i] = scale * x + shift, bad[0] += x - x;
            }
        } else if (plane.step == 1) {
            from += plane.first + cell;
            long i = 0;
            for (; i + LANES <= n; i += LANES) {
                const V x = load(from + i);
                store(to + i, fma(splat(shift), splat(scale), x)), bad += x - x;
            }
            if (i < n) {
                T rest[LANES] = {};
                std::copy_n(from + i, n - i, rest);
                const V x = load(rest);
                store(rest, fma(splat(shift), splat(scale), x)), bad += x - x;
                std::copy_n(rest, n - i, to + i);
            }
        } else {
            from += plane.first + plane.step * cell;
            for (long i = 0; i < n; i++) {
                const T x = from[plane.step * i];
                to[i] = scale * x + shift, bad[0] += x - x;
            }
        }
    }

    void sweep(int pole, const Tile& tile, Work& work) {
        const Pipeline& pipeline = pipelines[request.poles[pole].pipeline];
        const Timing& time = timing[pole];
        T parameters[N_PARAMETERS];
        for (int k = 0; k < N_PARAMETERS; k++) parameters[k] = request.poles[pole].parameters[k];
        const int n = pipeline.n_stages;
        if (int(work.arrays.size()) < n) work.arrays.resize(n);
        long begin = tile.rows.n, end = 0;
        for (int i = 1; i <= n; i++) {
            const Margin& m = time.margin[i];
            begin = std::min(begin, time.delay[i] - m.low[0]);
            end = std::max(end, time.delay[i] + tile.rows.n + m.high[0]);
            const long n_rows = tile.middle.n + m.low[1] + m.high[1];
            if (i < n)
                work.arrays[i].resize(pipeline.stages[i - 1].n_planes, time.depth[i], -m.low[1],
                                      n_rows);
        }
        for (long t = begin; t < end; t++)
            for (int i = 1; i <= n; i++) {
                const Margin& m = time.margin[i];
                const long y = t - time.delay[i];
                if (y < -m.low[0] || y >= tile.rows.n + m.high[0]) continue;
                for (long j = -m.low[1]; j < tile.middle.n + m.high[1]; j++)
                    compute(pipeline.stages[i - 1], i == n ? nullptr : &work.arrays[i], m, tile, y,
                            j, parameters, work);
            }
    }

    void compute(const Stage& stage, Rows* rows, const Margin& m, const Tile& tile, long y, long j,
                 const T* parameters, Work& work) {
        const T* from[MOST_NEEDS];
        for (int k = 0; k < stage.n_needs; k++) {
            const Need& need = stage.needs[k];
            from[k] = need.array < 0    ? sums(tile, y, j, work)
                      : need.array == 0 ? work.input.at(y + need.d0, j + need.d1)
                                        : work.arrays[need.array].at(y + need.d0, j + need.d1);
        }
        const long n = tile.columns.n;
        if (!rows)
            return stage.run(from, parameters, work.scratch.data(), sums(tile, y, j, work), 0, n);
        T* to = rows->at(y, j);
        if (n < request.extent[2]) {
            stage.run(from, parameters, work.scratch.data(), to, -m.low[2], n + m.high[2]);
            return;
        }
        stage.run(from, parameters, work.scratch.data(), to, 0, n);
        for (int p = 0; p < stage.n_planes; p++, to += WIDTH) {
            for (long x = 0; x < m.high[2]; x += LANES) store(to + n + x, load(to + x));
            for (long x = 0; x < m.low[2]; x += LANES)
                store(to - x - LANES, load(to + n - x - LANES));
        }
    }

    T* sums(const Tile& tile, long y, long j, Work& work) {
        return work.sums.data() + (y * tile.middle.n + j) * request.n_out * TILE;
    }

    void write(const Tile& tile, T* to, Work& work) {
        const int64_t* extent = request.extent;
        for (long y = 0; y < tile.rows.n; y++)
            for (long j = 0; j < tile.middle.n; j++) {
                const long row = (tile.rows.begin + y) * extent[1] + tile.middle.begin + j;
                const T* from = sums(tile, y, j, work);
                for (int p = 0; p < request.n_out; p++, from += TILE) {
                    T* here = to + p * request.plane_step +
                              (row * extent[2] + tile.columns.begin) * request.cell_step;
                    if (request.cell_step == 1)
                        std::copy_n(from, tile.columns.n, here);
                    else
                        for (long x = 0; x < tile.columns.n; x++)
                            here[x * request.cell_step] = from[x];
                }
            }
    }
};

}  // namespace

extern "C" {

// The memory of the threads, which is kept from call to call.
struct Memory {
    std::mutex lock;
    std::vector<std::unique_ptr<Work>> free;
};

Memory* green_memory() { return new Memory; }
void green_free(Memory* memory) { delete memory; }

// Add up all poles for a batch of fields. Returns 1 if all numbers of the source are finite.
int32_t green_run(Memory* memory, const Request* request, const T* source, T* out) {
    Job job(*request, pipelines, source, out);
    return job.run(memory->free, memory->lock);
}
}
