package version

import (
	"runtime/debug"
	"testing"
)

func TestTheVersionIsThatOfQtoolAlsoAsALibrary(t *testing.T) {
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: debug.Module{Path: "qtool", Version: "v1.2.3"}}, "v1.2.3"},
		{debug.BuildInfo{Main: debug.Module{Path: "qtool", Version: "(devel)"}}, "devel"},
		{debug.BuildInfo{Main: debug.Module{Path: "other", Version: "v9.0.0"}, Deps: []*debug.Module{{Path: "x", Version: "v2.0.0"}, {Path: "qtool", Version: "v1.0.0"}}}, "v1.0.0"},
		{debug.BuildInfo{Main: debug.Module{Path: "other", Version: "v9.0.0"}, Deps: []*debug.Module{{Path: "qtool", Version: "v1.0.0", Replace: &debug.Module{Path: "../qtool"}}}}, "devel"},
		{debug.BuildInfo{}, "devel"},
	} {
		if got := of(&c.info); got != c.want {
			t.Errorf("%+v: %q, want %q", c.info, got, c.want)
		}
	}
}
