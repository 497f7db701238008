package room

import "time"

// spent remembers sessions whose token was used, for as long as somebody might show it:
// a reservation that comes late, once more, must not make the token good again. The zero
// value is ready.
type spent struct {
	since           time.Time // when recent was begun
	recent, earlier map[string]bool
}

// spentFor is how long a session is remembered at least; at most twice as long.
const spentFor = 2 * ReservationTTL

func (s *spent) add(session string, now time.Time) {
	if s.recent == nil || now.Sub(s.since) >= spentFor {
		s.since, s.recent, s.earlier = now, map[string]bool{}, s.recent
	}
	s.recent[session] = true
}

func (s *spent) has(session string) bool { return s.recent[session] || s.earlier[session] }
