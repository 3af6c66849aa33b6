package clustertest

import "time"

const (
	maxBuffered  = 1 << 20          // bytes on their way or unread, a direction of a connection: what two socket buffers hold. More blocks the writer
	maxBacklog   = 128              // connections that wait for Accept, a listener: more are refused
	maxPackets   = 1024             // packets that wait for their reader, a transport: more are dropped, as a socket does
	dialLimit    = 30 * time.Second // longest a Dial waits for a host that does not answer, whatever its context says
	drainTime    = 30 * time.Second // fake time that Run gives to goroutines which nothing can interrupt (memberlist's probes run to their time limit)
	firstDialled = 40000            // first port given to dialling ends and to listeners that ask for port 0
)
