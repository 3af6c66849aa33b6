package realm

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// lowestPriority is the nice value with the smallest share: about a hundredth of a processor beside something that wants
// all of it. The policy SCHED_IDLE would leave less than that: logins would not end on a machine that is busy.
const lowestPriority = 19

// lowerPriority gives every thread of this process the lowest priority: here that is a thread's own, and a new one has its
// maker's. So once a look at all of them finds none that was not lowered, there will be none.
func lowerPriority() error {
	lowered := map[int]bool{}
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		before := len(lowered)
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || lowered[id] {
				continue
			}
			err = syscall.Setpriority(syscall.PRIO_PROCESS, id, lowestPriority)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("set priority of thread %d: %w", id, err)
			}
			lowered[id] = true
		}
		if len(lowered) == before {
			return nil
		}
	}
}

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
