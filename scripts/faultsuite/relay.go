//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// relay holds the packets on some ways up, whatever they carry: the kernel routes them into a TUN device, this program
// reads them there, and gives each back after its time. Their order stays.
type relay struct {
	device *os.File
	routes [][]string // words of ip that end the detour
	delay  time.Duration
	jitter time.Duration
	queue  chan delayed
	group  sync.WaitGroup

	passed, lost atomic.Int64
}

type delayed struct {
	due    time.Time
	packet []byte
}

// openTun makes a TUN device that gives and takes bare IP packets.
func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open TUN device: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("name TUN device: %w", err), unix.Close(fd))
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, errors.Join(fmt.Errorf("make TUN device: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openRelay begins the detour of all packets on the ways.
func openRelay(number int, ways []way, delay, jitter time.Duration) (*relay, error) {
	name, table := "relay"+strconv.Itoa(number), strconv.Itoa(relayTable+number)
	device, err := openTun(name)
	if err != nil {
		return nil, err
	}
	r := &relay{device: device, delay: delay, jitter: jitter, queue: make(chan delayed, relayQueue)}
	err = errors.Join(
		command("ip", "link", "set", name, "up"),
		command("ip", "route", "add", "default", "dev", name, "table", table),
	)
	for _, w := range ways {
		rule := []string{"iif", w.from.link, "to", w.to.addr, "lookup", table}
		err = errors.Join(err, command(append([]string{"ip", "rule", "add"}, rule...)...))
		r.routes = append(r.routes, append([]string{"ip", "rule", "del"}, rule...))
	}
	if err != nil {
		return nil, errors.Join(err, device.Close())
	}
	r.group.Go(r.receive)
	r.group.Go(r.send)
	return r, nil
}

// receive takes packets in. What comes faster than it goes out is lost, as in any router.
func (r *relay) receive() {
	defer close(r.queue)
	buffer := make([]byte, maxBody)
	for {
		n, err := r.device.Read(buffer)
		if err != nil {
			return // closed
		}
		due := time.Now().Add(r.delay)
		if r.jitter > 0 {
			due = due.Add(rand.N(r.jitter))
		}
		select {
		case r.queue <- delayed{due, append([]byte(nil), buffer[:n]...)}:
		default:
			r.lost.Add(1)
		}
	}
}

// send gives packets back when their time has come.
func (r *relay) send() {
	for d := range r.queue {
		if wait := time.Until(d.due); wait > 0 {
			<-time.After(wait)
		}
		if _, err := r.device.Write(d.packet); err != nil {
			r.lost.Add(1)
			continue
		}
		r.passed.Add(1)
	}
}

// close ends the detour. What is held up is lost.
func (r *relay) close() error {
	var errs []error
	for _, words := range r.routes {
		errs = append(errs, command(words...))
	}
	errs = append(errs, r.device.Close())
	r.group.Wait()
	return errors.Join(errs...)
}
