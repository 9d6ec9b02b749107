package bench

import (
	"bytes"
	"os"
	"strconv"
)

// anonymousRSS is the resident memory of this process that holds no file, in bytes.
func anonymousRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("RssAnon:"))
	fields := bytes.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	kb, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return kb * 1024
}
