package memory

import (
	"math"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const mib = 1 << 20

// machine is a forged system with 8 GiB available, on which the process has taken 1000 MiB of
// addresses and 200 MiB of private memory, with more files, or others, as given.
func machine(files map[string]string) system {
	fs := fstest.MapFS{}
	all := map[string]string{
		"proc/meminfo":                  "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\nHugePages_Total:       0\nCommitLimit:     4194304 kB\nCommitted_AS:    1048576 kB\n",
		"proc/self/status":              "Name:\tqtool\nVmSize:\t 1024000 kB\nVmData:\t  204800 kB\n",
		"proc/sys/vm/overcommit_memory": "0\n",
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return system{files: fs, addresses: math.MaxInt64, data: math.MaxInt64}
}

func check(t *testing.T, s system, want ...Limit) {
	t.Helper()
	want = append([]Limit{{Machine, 8192 * mib}}, want...)
	if diff := cmp.Diff(Limits(want), s.limits()); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutLimitsThereIsWhatTheMachineHas(t *testing.T) {
	check(t, machine(nil))
}

func TestNothingIsSaidOfASystemThatDoesNotTell(t *testing.T) {
	s := system{files: fstest.MapFS{}, addresses: 1 << 30, data: 1 << 30}
	if got := s.limits(); got != nil {
		t.Errorf("limits %v of nothing", got)
	}
}

func TestLimitsOfTheProcessLeaveWhatItHasNotTaken(t *testing.T) {
	s := machine(nil)
	s.data, s.addresses = 500*mib, 2000*mib
	check(t, s, Limit{Data, 300*mib - runtimeSlack}, Limit{Address, 1000*mib - heapSlack})
	s.data, s.addresses = 100*mib, 100*mib // lowered after it was taken
	check(t, s, Limit{Data, 0}, Limit{Address, 0})
}

func TestWithoutOvercommitTheSystemPromisesNoMoreThanItHas(t *testing.T) {
	check(t, machine(map[string]string{"proc/sys/vm/overcommit_memory": "2\n"}), Limit{Commit, 3072 * mib})
}

const (
	mountsV2 = "24 1 0:22 / /proc rw - proc proc rw\n30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountsV1 = "30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"34 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	inGroupsV1 = "5:devices:/a\n4:memory:/a/b\n0::/\n"
)

func TestEveryControlGroupUpToTheRootCounts(t *testing.T) {
	group := func(dir, limit, used string) map[string]string {
		return map[string]string{"sys/fs/cgroup" + dir + "/memory.max": limit, "sys/fs/cgroup" + dir + "/memory.current": used}
	}
	for name, c := range map[string]struct {
		groups []map[string]string
		want   []Limit
	}{
		"none has one":   {[]map[string]string{group("/user/run", "max\n", "1000\n")}, nil},
		"its own":        {[]map[string]string{group("/user/run", "1073741824\n", "536870912\n"), group("/user", "max\n", "0")}, []Limit{{Group, 512 * mib}}},
		"the outer one":  {[]map[string]string{group("/user/run", "1073741824\n", "0\n"), group("/user", "1073741824\n", "1048576000\n")}, []Limit{{Group, 24 * mib}}},
		"the root's":     {[]map[string]string{group("", "104857600\n", "0\n")}, []Limit{{Group, 100 * mib}}},
		"it is used up":  {[]map[string]string{group("/user/run", "1073741824\n", "1174405120\n")}, []Limit{{Group, 0}}},
		"nothing is nil": {[]map[string]string{group("/user/run", "0\n", "0\n")}, []Limit{{Group, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"proc/self/cgroup": "0::/user/run\n", "proc/self/mountinfo": mountsV2}
			for _, g := range c.groups {
				for k, v := range g {
					files[k] = v
				}
			}
			check(t, machine(files), c.want...)
		})
	}
}

func TestCachedFilesOfAControlGroupAreNotUsed(t *testing.T) {
	check(t, machine(map[string]string{
		"proc/self/cgroup": "0::/run\n", "proc/self/mountinfo": mountsV2,
		"sys/fs/cgroup/run/memory.max": "1073741824", "sys/fs/cgroup/run/memory.current": "943718400",
		"sys/fs/cgroup/run/memory.stat": "anon 104857600\nfile 838860800\ninactive_file 524288000\nactive_file 314572800\n",
	}), Limit{Group, 924 * mib})
}

func TestControlGroupsOfVersion1Count(t *testing.T) {
	files := map[string]string{
		"proc/self/cgroup": inGroupsV1, "proc/self/mountinfo": mountsV1,
		"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n", // no limit
		"sys/fs/cgroup/memory/memory.usage_in_bytes":     "7000000000\n",
		"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "2147483648\n",
		"sys/fs/cgroup/memory/a/memory.usage_in_bytes":   "1073741824\n",
		"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "1073741824\n",
		"sys/fs/cgroup/memory/a/b/memory.usage_in_bytes": "536870912\n",
		"sys/fs/cgroup/memory/a/b/memory.stat":           "cache 1\ninactive_file 1\ntotal_inactive_file 104857600\ntotal_active_file 0\n",
		"sys/fs/cgroup/unified/memory.max":               "1",
		"sys/fs/cgroup/unified/x/memory.max":             "1",
	}
	check(t, machine(files), Limit{Group, 1}) // the root of version 2 has one, and counts too
	delete(files, "sys/fs/cgroup/unified/memory.max")
	check(t, machine(files), Limit{Group, 612 * mib})
}

// A container may be told the name of its group on the machine, and see that group as the
// root.
func TestTheGroupOfAContainerIsFoundWhereItIsSeen(t *testing.T) {
	for name, mounts := range map[string]string{
		"its group is the root":    "30 24 0:26 /docker/c0ffee /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
		"another one is the root":  "30 24 0:26 /docker/other /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
		"the name is out of sight": "30 24 0:26 /../../x /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
	} {
		t.Run(name, func(t *testing.T) {
			check(t, machine(map[string]string{
				"proc/self/cgroup": "0::/docker/c0ffee\n", "proc/self/mountinfo": mounts,
				"sys/fs/cgroup/memory.max": "1073741824\n", "sys/fs/cgroup/memory.current": "0\n",
			}), Limit{Group, 1024 * mib})
		})
	}
}

func TestDamagedFilesOfTheSystemAreNoLimits(t *testing.T) {
	check(t, machine(map[string]string{
		"proc/self/cgroup": "0\n::\n\x00:::\n0::/../..\n", "proc/self/mountinfo": "-\n - \n30 24 0:26 / /sys/fs/cgroup - cgroup2 x y\n",
		"sys/fs/cgroup/memory.max": "-1\n", "proc/self/status": "VmSize: many kB\n",
	}))
}

func TestThisProcessHasLimits(t *testing.T) {
	limits := Ask()
	if len(limits) == 0 || limits[0].Kind != Machine || limits[0].Left < mib {
		t.Errorf("%v", limits)
	}
}
