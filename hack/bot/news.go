package bot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Patience with a pod that sends no heartbeat: they come every 200 ms to whoever holds a microphone,
// every 2 s to the audience.
const (
	patienceOnMic      = time.Second
	patienceInAudience = 5 * time.Second
)

// news is what makes a Member leave a connection.
type news struct {
	kind string // "moved", "bye" or, from the gateway's event stream, "told"
	code string // of a bye
}

// signs are a connection's signs of life.
type signs struct {
	sync.Mutex
	member int       // who this is
	last   time.Time // heartbeat; zero: none yet
	mic    int       // that it holds; -1: none
}

// late says that no heartbeat came for longer than it may take.
func (s *signs) late(now time.Time) bool {
	s.Lock()
	defer s.Unlock()
	patience := patienceInAudience
	if s.mic >= 0 {
		patience = patienceOnMic
	}
	return !s.last.IsZero() && now.Sub(s.last) > patience
}

// notice takes a message of the pod that is no reply.
func (b *Bot) notice(kind string, text []byte) {
	switch kind {
	case "moved":
		b.report(news{kind: kind})
	case "bye":
		var bye struct{ Code string }
		_ = json.Unmarshal(text, &bye) // what is no bye has no code
		b.report(news{kind: kind, code: bye.Code})
	default:
		b.signs.take(kind, text)
	}
}

func (b *Bot) report(n news) {
	select {
	case b.news <- n:
	default: // there is more than enough already
	}
}

type mic struct{ Member, Index int }

// take learns from a message whether the pod lives, and how often it is to say so.
func (s *signs) take(kind string, text []byte) {
	var m struct {
		Member int
		State  struct{ Mics []mic }
		Events []struct{ Mic *mic }
	}
	if kind != "heartbeat" && json.Unmarshal(text, &m) != nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	held := s.mic
	switch kind {
	case "heartbeat":
		s.last = time.Now()
	case "welcome":
		s.member = m.Member
	case "snapshot":
		s.mic = -1
		for _, mic := range m.State.Mics {
			s.follow(mic)
		}
	case "events":
		for _, e := range m.Events {
			if e.Mic != nil {
				s.follow(*e.Mic)
			}
		}
	}
	if s.mic != held && !s.last.IsZero() {
		s.last = time.Now() // from here on heartbeats come at another pace
	}
}

func (s *signs) onMic() bool {
	s.Lock()
	defer s.Unlock()
	return s.mic >= 0
}

// follow takes the new value of a microphone.
func (s *signs) follow(m mic) {
	switch {
	case m.Member == s.member:
		s.mic = m.Index
	case m.Index == s.mic:
		s.mic = -1
	}
}

// arrived tells the pod that this member is connected to the next one. What is wrong with the
// connection is known otherwise.
func (b *Bot) arrived() { _ = b.channel.SendText(`{"type":"arrived"}`) }

// watch reports when the gateway says that the room has moved, until ctx ends.
func (b *Bot) watch(ctx context.Context) {
	for wait := firstWait; ctx.Err() == nil; wait = pause(ctx, wait) {
		res, err := b.ask(ctx, http.MethodGet, strings.TrimSuffix(b.sessionPath(), "/sessions/"+b.Grant.Session)+"/events", "application/json", b.Grant.Token, nil)
		if err != nil {
			if refusal, ok := errors.AsType[*ProblemError](err); ok && refusal.Code == "stale-epoch" {
				b.report(news{kind: "told"})
				return
			}
			continue
		}
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if lines.Text() == "event: moved" {
				b.report(news{kind: "told"})
			}
		}
		_ = res.Body.Close()
	}
}
