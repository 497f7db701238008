package transport

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

// binding answers one STUN Binding request as an ICE-lite agent (RFC 8445, section 7.3). Whatever
// does not authenticate is dropped without an answer: an answer would tell scanners that we are here
// and let them aim us at others.
func (rd *reader) binding(b []byte, from flow, now time.Time) {
	s, m := rd.server, &rd.msg
	m.Raw = append(m.Raw[:0], b...)
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		s.counters.DroppedMalformed.Add(1)
		return
	}
	k := check{from: from, now: now}
	if k.credential = s.authenticate(m); k.credential == nil {
		s.counters.STUNAuthFailed.Add(1)
		return
	}
	controlled := false
	for _, a := range m.Attributes {
		if a.Type == stun.AttrMessageIntegrity {
			break // what follows is not protected (RFC 8489, section 14.5)
		}
		switch a.Type {
		case stun.AttrUseCandidate:
			k.nominate = true
		case stun.AttrICEControlled:
			controlled = true
		case stun.AttrPriority:
			if len(a.Value) == 4 {
				k.priority = binary.BigEndian.Uint32(a.Value)
			}
		}
	}
	c := k.credential.conn
	c.gate.RLock() // an answer is a packet of the connection too
	defer c.gate.RUnlock()
	integrity := stun.NewShortTermIntegrity(k.credential.pwd)
	switch {
	case c.shut:
	case controlled: // a lite agent is never the controlling one (RFC 8445, section 6.1.1)
		rd.respond(from, stun.BindingError, stun.CodeRoleConflict, integrity)
	case s.bind(k):
		rd.respond(from, stun.BindingSuccess, &stun.XORMappedAddress{
			IP: from.addr.Addr().AsSlice(), Port: int(from.addr.Port()),
		}, integrity)
	}
}

// authenticate returns the credential whose username and password m proves, or nil.
func (s *Server) authenticate(m *stun.Message) *credential {
	username, err := m.Get(stun.AttrUsername)
	if err != nil {
		return nil
	}
	local, remote, _ := strings.Cut(string(username), ":")
	s.mu.RLock()
	k := s.ufrags[local]
	s.mu.RUnlock()
	if k == nil || k.remote != remote || stun.NewShortTermIntegrity(k.pwd).Check(m) != nil {
		return nil
	}
	if m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil {
		return nil
	}
	return k
}

// respond answers the request in rd.msg.
func (rd *reader) respond(to flow, kind stun.MessageType, result stun.Setter, integrity stun.MessageIntegrity) {
	response, err := stun.Build(stun.NewTransactionIDSetter(rd.msg.TransactionID), kind, result, integrity, stun.Fingerprint)
	if err != nil {
		rd.server.log.Error("build a STUN response", "error", err)
		return
	}
	_ = rd.server.sent(to.write(response.Raw)) // counted; the client checks again
}

// sent counts a packet that did not leave, and returns err.
func (s *Server) sent(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, ErrWouldBlock):
		s.counters.SendDropped.Add(1)
	default:
		s.counters.SendFailed.Add(1)
	}
	return err
}
