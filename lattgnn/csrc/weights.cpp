// Comparison of weights with the copies that tables were made from.

#include <cstdint>
#include <cstring>

// Whether n arrays, of `sizes` bytes each, hold the same bytes as their copies.
//
// The forces of a step call this every time, so it is one call for all arrays rather than one call
// per array.
extern "C" int32_t lattgnn_same_bytes(const void* const* arrays, const void* const* copies,
                                      const int64_t* sizes, int64_t n) {
    for (int64_t k = 0; k < n; k++)
        if (std::memcmp(arrays[k], copies[k], sizes[k]) != 0) return 0;
    return 1;
}
