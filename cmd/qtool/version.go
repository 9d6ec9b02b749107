package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/cpu"

	"qtool/internal/kernel/simd"
	"qtool/internal/version"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the version, and with --cpu what this CPU offers",
		UsageText: "qtool version [--cpu] [--json]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "cpu", Usage: "print the CPU's features and the tier of kernels in use"},
			jsonFlag(),
		},
		Action: runVersion,
	}
}

type versionReport struct {
	Version  string     `json:"version"`
	Revision string     `json:"revision,omitempty"`
	Go       string     `json:"go"`
	Platform string     `json:"platform"`
	CPU      *cpuReport `json:"cpu,omitempty"`
}

type cpuReport struct {
	Tier     string   `json:"tier"`
	Threads  int      `json:"threads"`
	Features []string `json:"features"`
}

func runVersion(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	r := buildVersion()
	if c.Bool("cpu") {
		// The kernels are plain Go so far; the features show what others could use.
		r.CPU = &cpuReport{Tier: simd.Active().String(), Threads: runtime.GOMAXPROCS(0), Features: cpuFeatures()}
	}
	con := newConsole(c)
	if con.json {
		return con.printJSON(r)
	}
	fmt.Fprintln(con.out, r)
	if r.CPU != nil {
		fmt.Fprintf(con.out, "kernels   %s\nthreads   %d\nfeatures  %s\n", r.CPU.Tier, r.CPU.Threads, strings.Join(r.CPU.Features, " "))
	}
	return nil
}

// String is a line without the CPU.
func (r versionReport) String() string {
	s := "qtool " + r.Version
	if r.Revision != "" {
		s += " (" + r.Revision + ")"
	}
	return s + ", " + r.Go + ", " + r.Platform
}

func buildVersion() versionReport {
	r := versionReport{Version: version.String(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			r.Revision = s.Value[:min(12, len(s.Value))] + r.Revision
		case s.Key == "vcs.modified" && s.Value == "true":
			r.Revision += "+changes"
		}
	}
	return r
}

// cpuFeatures lists the instruction sets that kernels care about.
func cpuFeatures() []string {
	present := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx", cpu.X86.HasAVX}, {"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512bw", cpu.X86.HasAVX512BW}, {"avx512vl", cpu.X86.HasAVX512VL},
		{"avx512vnni", cpu.X86.HasAVX512VNNI}, {"avx512bf16", cpu.X86.HasAVX512BF16},
		{"amx-bf16", cpu.X86.HasAMXBF16}, {"amx-int8", cpu.X86.HasAMXInt8},
		{"asimd", cpu.ARM64.HasASIMD}, {"asimddp", cpu.ARM64.HasASIMDDP}, {"asimdhp", cpu.ARM64.HasASIMDHP},
		{"i8mm", cpu.ARM64.HasI8MM}, {"sve", cpu.ARM64.HasSVE}, {"sve2", cpu.ARM64.HasSVE2},
	} {
		if f.has {
			present = append(present, f.name)
		}
	}
	return present
}
