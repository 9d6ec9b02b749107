// Package version tells which version of qtool is running.
package version

import (
	"runtime/debug"
	"sync"
)

// module is the path of qtool's module.
const module = "qtool"

// String is the version of qtool that the Go tool recorded when the program was built: a tag, or
// a pseudo-version of a commit, also where qtool is a library of another program. It is "devel"
// for a build of which nothing was recorded. It never changes while the program runs.
var String = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return of(info)
})

const unknown = "devel"

func of(info *debug.BuildInfo) string {
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return unknown
}
