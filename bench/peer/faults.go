package peer

import (
	"context"
	"syscall"
)

// Kill ends node i with SIGKILL, and returns when it is gone.
func (c *Cloakroom) Kill(i int) error { return c.members[i].process.kill() }

// Terminate asks node i to stop in order, and returns when it is gone.
func (c *Cloakroom) Terminate(i int) error { return c.members[i].process.stop() }

// Freeze keeps node i from running, as a debugger or a hypervisor does; its clock runs on. Thaw lets it go on.
func (c *Cloakroom) Freeze(i int) error { return c.members[i].process.signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (c *Cloakroom) Thaw(i int) error { return c.members[i].process.signal(syscall.SIGCONT) }

// Launch starts node i again, with its data, and returns at once.
func (c *Cloakroom) Launch(i int) error { return c.startMember(i) }

// Restart starts node i again, with its data, and returns when it is ready.
func (c *Cloakroom) Restart(ctx context.Context, i int) error {
	if err := c.startMember(i); err != nil {
		return err
	}
	return c.waitMember(ctx, i, againTimeout)
}
