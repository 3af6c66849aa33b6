package peer

import (
	"fmt"
	"math/rand/v2"
)

// Sessions are the tokens to pick from and the users that they belong to. Tokens lie in one piece of memory: ten
// million strings would keep the garbage collector of the generator busy while it measures.
type Sessions struct {
	tokens []byte
	width  int      // bytes of each token
	users  []string // of session first+i: that modulo their number, so that neighbours have different users
	first  int      // of these sessions among all that share the users
}

// newSessions makes room for n sessions whose tokens have that width.
func newSessions(n, width int, users []string) *Sessions {
	return &Sessions{tokens: make([]byte, n*width), width: width, users: users}
}

// Len returns how many sessions there are.
func (s *Sessions) Len() int { return len(s.tokens) / s.width }

// Token returns the token of session i. It must not be changed.
func (s *Sessions) Token(i int) []byte {
	return s.tokens[i*s.width : (i+1)*s.width]
}

// User returns the name of the user of session i.
func (s *Sessions) User(i int) string { return s.users[(s.first+i)%len(s.users)] }

// Split returns the first n sessions and the others. They share their memory with s.
func (s *Sessions) Split(n int) (first, others *Sessions) {
	cut := n * s.width
	return &Sessions{tokens: s.tokens[:cut], width: s.width, users: s.users, first: s.first},
		&Sessions{tokens: s.tokens[cut:], width: s.width, users: s.users, first: s.first + n}
}

// usersOf returns the users of sessions from … from+count-1.
func (s *Sessions) usersOf(from, count int) []string {
	users := make([]string, count)
	for i := range users {
		users[i] = s.User(from + i)
	}
	return users
}

func (s *Sessions) set(i int, token string) error {
	if len(token) != s.width {
		return fmt.Errorf("token of %d bytes among tokens of %d", len(token), s.width)
	}
	copy(s.Token(i), token)
	return nil
}

// usualUsers is what the names of users begin with.
const usualUsers = "bench"

// userNames returns the users of n sessions: enough that none has too many. Other runs use the same names, so that
// users do not pile up.
func userNames(prefix string, n int) []string {
	users := make([]string, (n+sessionsPerUser-1)/sessionsPerUser)
	for i := range users {
		users[i] = fmt.Sprintf("%s-%07d", prefix, i)
	}
	return users
}

// madeUpSessions returns n sessions for peers that do not make their own.
func madeUpSessions(n int) (*Sessions, error) {
	if n < 1 || n > MaxSessions {
		return nil, fmt.Errorf("%d sessions: need 1 to %d", n, MaxSessions)
	}
	s := newSessions(n, len(madeUpToken(0)), userNames(usualUsers, n))
	for i := range n {
		if err := s.set(i, madeUpToken(i)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// madeUpToken returns a key of the shape that the product's tokens have.
func madeUpToken(i int) string {
	return fmt.Sprintf("%08x-5555-7777-aaaa-%012x", uint32(i)*2654435761, i) // scatters, need not be reversible
}

// newRand returns the random source of one worker: runs repeat each other's choices, workers do not.
func newRand(worker int) *rand.Rand {
	return rand.New(rand.NewPCG(0x636c6f616b, uint64(worker))) // picks load, not secrets
}
