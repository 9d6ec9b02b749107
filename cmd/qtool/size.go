package main

import (
	"math"
	"strconv"
	"strings"
)

// sizeUnits are powers of 1000, as llama-gguf-split has it, unless they say "i".
var sizeUnits = map[string]float64{
	"": 1, "B": 1,
	"K": 1e3, "KB": 1e3, "KIB": 1 << 10,
	"M": 1e6, "MB": 1e6, "MIB": 1 << 20,
	"G": 1e9, "GB": 1e9, "GIB": 1 << 30,
	"T": 1e12, "TB": 1e12, "TIB": 1 << 40,
}

// parseSize reads a number of bytes such as "4.2GiB", "500M" or "2 GB".
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "BKMGTIbkmgti ")
	unit, ok := sizeUnits[strings.ToUpper(strings.TrimSpace(s[len(number):]))]
	n, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(n*unit >= 1 && n*unit < math.MaxInt64) {
		return 0, usagef("%q is no size; give one as in 4.2GiB, 2G or 500M", s)
	}
	return int64(n * unit), nil
}
