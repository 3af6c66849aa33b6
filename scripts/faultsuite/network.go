//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	networkNames = "/run/netns" // where ip keeps the names of networks
	forwarding   = "/proc/sys/net/ipv4/ip_forward"
)

// host is one node's own network. The suite stands in the middle: it reaches each host directly, and routes the packets
// between them, so that what it drops on the way is between nodes alone and never between a client and a node.
type host struct {
	name string
	link string // the suite's end of the cable
	addr string
}

// lay makes the suite's own network the middle.
func lay() error {
	if err := command("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	if err := os.WriteFile(forwarding, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward packets: %w", err)
	}
	return nil
}

// plug makes the network of a host and connects it.
func plug(name string, number int) (*host, error) {
	h := &host{name: name, link: "to-" + name, addr: fmt.Sprintf("10.99.%d.2", number)}
	middle := fmt.Sprintf("10.99.%d.1", number)
	for _, words := range []string{
		"ip netns add " + name,
		fmt.Sprintf("ip link add %s type veth peer name eth0 netns %s", h.link, name),
		fmt.Sprintf("ip addr add %s/24 dev %s", middle, h.link),
		fmt.Sprintf("ip link set %s up", h.link),
		fmt.Sprintf("ip -n %s link set lo up", name),
		fmt.Sprintf("ip -n %s addr add %s/24 dev eth0", name, h.addr),
		fmt.Sprintf("ip -n %s link set eth0 up", name),
		fmt.Sprintf("ip -n %s route add default via %s", name, middle),
	} {
		if err := command(strings.Fields(words)...); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// at returns the host's address with a port.
func (h *host) at(port int) string { return fmt.Sprintf("%s:%d", h.addr, port) }

// start starts a process in the host's network.
func (h *host) start(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		// A process is born into the network of the thread that starts it. The thread is not unlocked, so it ends with
		// this goroutine, and nobody finds himself in the wrong network.
		runtime.LockOSThread()
		started <- h.startHere(cmd)
	}()
	return <-started
}

func (h *host) startHere(cmd *exec.Cmd) error {
	network, err := os.Open(networkNames + "/" + h.name)
	if err != nil {
		return fmt.Errorf("open network of %s: %w", h.name, err)
	}
	defer func() { _ = network.Close() }() // nothing was written
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network of %s: %w", h.name, err)
	}
	return cmd.Start()
}
