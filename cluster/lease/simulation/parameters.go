package simulation

import "math/rand/v2"

// parameters are what a seed chooses for its history.
type parameters struct {
	duration micros // D
	rate     int    // ε in thousandths
	margin   micros // M
	maxLag   uint64
	length   micros

	delay      micros // of a message, roughly
	tail       micros // longest extra delay of those that are late
	late       float64
	loss       float64
	doubled    float64
	election   micros
	notice     micros // longest time until a node notices that it has lost its office
	coalesced  bool   // a lost office is not told any more when the next one has begun
	termLate   bool   // the term of an office is read when it is noticed, not when it begins
	attentive  bool   // a leader steps down that hears from no majority
	survive    bool   // proposals outlive the office in which they were made
	transfers  bool   // a leader takes no proposals while it transfers its office
	backward   bool   // a snapshot may turn a table back; otherwise it is refused
	split      bool   // effects are visible some time before the index or the notice of it
	modless    bool   // a snapshot doesn't hold when its records changed
	hold       bool   // a frozen leader holds commands back
	gather     micros // how long commands are gathered for an entry
	membership bool
	outage     micros // longest fault
	readGap    micros // longest time between two steps of a lookup
	faults     micros // mean time between two
	operations micros // mean time between two
	config     config
}

func chooseParameters(r *rand.Rand) parameters {
	p := parameters{
		duration: choose(r, 150*millisecond, 300*millisecond),
		rate:     choose(r, 0, 20, 200),
		margin:   choose(r, 0, 5*millisecond, 15*millisecond),
		maxLag:   choose[uint64](r, 2, 20, 1000),
	}
	d := p.duration
	p.length = choose[micros](r, 5, 8) * d
	p.delay = choose(r, 300, millisecond, 4*millisecond)
	p.tail = choose(r, 20*millisecond, d/2, d*3/2)
	p.late = choose(r, 0, 0.02, 0.1)
	p.loss = choose(r, 0, 0.01, 0.08)
	p.doubled = choose(r, 0, 0.03)
	p.election = choose(r, d/6, d/3, d*2/3)
	p.notice = choose(r, 0, 10*millisecond, d/2)
	p.coalesced = choose(r, false, true)
	p.termLate = choose(r, false, false, true)
	p.attentive = choose(r, false, true)
	p.survive = choose(r, false, true)
	p.transfers = choose(r, false, true)
	p.backward = choose(r, false, true)
	p.split = choose(r, false, true)
	p.modless = choose(r, false, true)
	p.hold = choose(r, false, true, true)
	p.gather = choose(r, 0, 500, 5*millisecond)
	p.membership = choose(r, false, true)
	p.outage = choose(r, d/4, d, d*2)
	p.readGap = choose(r, 2*millisecond, d/4, d)
	p.faults = choose(r, 40*millisecond, 120*millisecond, 300*millisecond)
	p.operations = p.length / choose[micros](r, 120, 200)
	p.config = choose(r,
		config{voters: 0b00111, others: 0b01000},
		config{voters: 0b00111, others: 0b01000},
		config{voters: 0b00111, others: 0b11000},
		config{voters: 0b00111},
		config{voters: 0b11111})
	return p
}

// calm takes the faults of the network away; others are not scheduled then.
func (p *parameters) calm() {
	p.late, p.loss, p.doubled = 0, 0, 0
	p.delay = min(p.delay, millisecond)
	p.maxLag = 1000
}

func choose[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
