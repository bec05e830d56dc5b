package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
)

// Members lists the processes of the machine that we may look into, by their pid namespace; see [Process.Namespace].
func Members() map[string][]int {
	members := map[string][]int{}
	entries, _ := os.ReadDir("/proc") // nothing to list is nothing to do
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if namespace := namespaceOf(pid); namespace != "" {
			members[namespace] = append(members[namespace], pid)
		}
	}
	return members
}

func namespaceOf(pid int) string {
	link, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/pid"))
	if err != nil { // it has ended
		return ""
	}
	return link
}
