package session

import "time"

// Time is a moment of cluster time in Unix milliseconds. The machine never reads a clock: a leader stamps each entry.
type Time int64

// MaxTime is the last moment that an entry may be stamped with, the end of the year 9999: sums of a time and any
// duration stay far from overflow.
const MaxTime Time = 253402300799999

// Add returns the moment d later, in whole milliseconds.
func (t Time) Add(d time.Duration) Time { return t + Time(d/time.Millisecond) }

// Sub returns the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t-u) * time.Millisecond }

// Std returns the moment as a time.Time in UTC.
func (t Time) Std() time.Time { return time.UnixMilli(int64(t)).UTC() }

// TimeOf returns the moment of a time.Time.
func TimeOf(t time.Time) Time { return Time(t.UnixMilli()) }
