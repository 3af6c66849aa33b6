package guard

import (
	"os"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func TestAvailable(t *testing.T) {
	const (
		gib   = 1 << 30
		stats = "MemFree:  10 kB\nMemTotal:        8388608 kB\nMemAvailable: 20 kB\n" // 8 GiB
	)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no groups", nil, 8 * gib},
		{"version 2, no limit", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 8 * gib},
		{"version 2", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1073741824\n"}, gib},
		{"version 2, the group above", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "2147483648\n",
		}, 2 * gib},
		{"version 2, slowed down earlier", map[string]string{
			"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "2147483648\n", "sys/fs/cgroup/a/memory.high": "1073741824\n",
		}, gib},
		{"version 2, a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, gib},
		{"version 2, a container that sees the host's path", map[string]string{
			"proc/self/cgroup": "0::/docker/c0ffee\n", "sys/fs/cgroup/memory.max": "1073741824\n",
		}, gib},
		{"version 2, out of its root", map[string]string{"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, gib},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu:/\n4:hugetlb,memory:/a/b\n0::/\n",
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes":   "1073741824\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":       "9223372036854771712\n",
			"sys/fs/cgroup/hugetlb/a/b/memory.limit_in_bytes":  "1\n",
			"sys/fs/cgroup/memory/a/b/c/memory.limit_in_bytes": "1\n",
		}, gib},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup": "4:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
		}, 8 * gib},
		{"a limit above what there is", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "17179869184\n"}, 8 * gib},
		{"no number", map[string]string{"proc/self/cgroup": "garbage\n0::/a\n", "sys/fs/cgroup/a/memory.max": "-3\n"}, 8 * gib},
	} {
		root := fstest.MapFS{"proc/meminfo": {Data: []byte(stats)}}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got, err := availableIn(root); err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.name, got, err, c.want)
		}
	}
	for name, text := range map[string]string{"nothing": "", "no number": "MemTotal: x kB\n", "nought": "MemTotal: 0 kB\n", "too much": "MemTotal: 9223372036854775807 kB\n", "another unit": "MemTotal: 4 MB\n"} {
		if got, err := availableIn(fstest.MapFS{"proc/meminfo": {Data: []byte(text)}}); err == nil || got != 0 {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	if got, err := availableIn(fstest.MapFS{}); err == nil || got != 0 {
		t.Errorf("no /proc: %d, %v", got, err)
	}
}

// This machine: /proc says what the kernel says.
func TestRealAvailable(t *testing.T) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	total := int64(info.Totalram) * int64(info.Unit)
	physical, err := physicalMemory(os.DirFS("/"))
	if err != nil || physical <= 0 || physical > total {
		t.Errorf("%d bytes of physical memory, %v; the kernel says %d", physical, err, total)
	}
	if got, err := availableMemory(); err != nil || got <= 0 || got > physical {
		t.Errorf("%d bytes available of %d, %v", got, physical, err)
	}
}
