//go:build !linux

package session

func mapMemory(size int, _ bool) []byte { return make([]byte, size) }

func unmapMemory([]byte) {}

func discardMemory([]byte) {}

func adviseHuge([]byte) {}
