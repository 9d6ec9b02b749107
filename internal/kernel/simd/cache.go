package simd

// unknownLevelTwo is the size of an L2 cache that nobody tells.
const unknownLevelTwo = 512 << 10
