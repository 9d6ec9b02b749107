package printable

import "fmt"

// Count is a number of things: "1 row", "2 rows".
func Count[N int | int32 | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
