package simd

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestATierThatIsNotThereIsAnErrorAndChangesNothing(t *testing.T) {
	before := Active()
	for _, name := range []string{"avx1024", "", "GO"} {
		if _, err := Use(name); err == nil || !strings.Contains(err.Error(), "not the name of a tier") {
			t.Errorf("%q: error %v", name, err)
		}
	}
	missing := "neon"
	if before == NEON {
		missing = "avx2"
	}
	if _, err := Use(missing); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("%q: error %v", missing, err)
	}
	undo, err := Use("go")
	if err != nil || Active() != Go {
		t.Fatalf("tier %v, error %v", Active(), err)
	}
	undo()
	if Active() != before {
		t.Errorf("tier %v after undo, want %v", Active(), before)
	}
}

func TestTheEnvironmentForcesATier(t *testing.T) {
	if os.Getenv("KERNEL_TEST_REPORT_TIER") != "" {
		// Under an emulator this process may have another CPU than the one that started it.
		tier := Active().String()
		if tier == Names()[0] {
			tier = "the fastest"
		}
		fmt.Printf("go=%v tier=%s error=%v\n", Active() == Go, tier, EnvironmentError())
		return
	}
	for _, c := range []struct{ value, want string }{
		{"go", "go=true"},
		{"nonsense", `tier=the fastest error=QTOOL_CPU: "nonsense" is not the name of a tier`},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheEnvironmentForcesATier$")
		cmd.Env = append(os.Environ(), "KERNEL_TEST_REPORT_TIER=1", "QTOOL_CPU="+c.value)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Skipf("cannot run the test binary again: %v", err)
		}
		if !strings.Contains(string(out), c.want) {
			t.Errorf("QTOOL_CPU=%s: %s", c.value, out)
		}
	}
}
