//go:build !linux && !darwin && !freebsd && !dragonfly

package guard

import "errors"

func freeSpace(string) (Space, error) { return Space{}, errors.ErrUnsupported }
