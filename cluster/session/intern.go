package session

// numbered gives things numbers, from 1 on, and takes them back.
type numbered[T any] struct {
	list []T // by number
	free []uint32
}

func (s *numbered[T]) take(v T) uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		s.list[n] = v
		return n
	}
	if len(s.list) == 0 {
		s.list = make([]T, 1, 8)
	}
	s.list = append(s.list, v)
	return uint32(len(s.list) - 1)
}

func (s *numbered[T]) give(n uint32) {
	var none T
	s.list[n] = none
	s.free = append(s.free, n)
}

// roleLists holds the lists of fixed roles that sessions have, each once: there are far fewer of them than sessions.
// The number 0 is no list, and so says that the roles follow the records.
type roleLists struct {
	numbered[roleList]
	byText map[string]uint32 // by their encoding
}

type roleList struct {
	names    []string // never changed
	text     string
	sessions int
}

// use returns the number of a list for one more session. Names must not be changed by the caller.
func (l *roleLists) use(names []string) uint32 {
	if names == nil {
		return 0
	}
	return l.useText(appendStrings(nil, names), func() []string { return names })
}

func (l *roleLists) useText(text []byte, names func() []string) uint32 {
	n, ok := l.byText[string(text)]
	if !ok {
		list := roleList{names: names(), text: string(text)}
		n = l.take(list)
		if l.byText == nil {
			l.byText = make(map[string]uint32)
		}
		l.byText[list.text] = n
	}
	l.list[n].sessions++
	return n
}

// leave is for each session that has the list no longer.
func (l *roleLists) leave(n uint32) {
	if n == 0 {
		return
	}
	if l.list[n].sessions--; l.list[n].sessions == 0 {
		delete(l.byText, l.list[n].text)
		l.give(n)
	}
}

func (l *roleLists) names(n uint32) []string {
	if n == 0 {
		return nil
	}
	return l.list[n].names
}
