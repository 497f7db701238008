package history

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"voiceroom.dev/voiceroom/room"
)

// Patience is how long one window is looked at.
const Patience = 30 * time.Second

// Verdict is what a window came to.
type Verdict struct {
	// Violation is a sentence that says what has no explanation; empty: nothing.
	Violation string
	// Undecided: no answer within Patience.
	Undecided bool
	// Operations that were held against a known room, of those that have an answer.
	Judged int
	// Explain writes the visualisation of a violation as a page.
	Explain func(path string) error
}

// Check judges a window.
func Check(w *Window) Verdict {
	c := newChecker(w)
	ops := c.history()
	model := c.model()
	result, info := porcupine.CheckOperationsVerbose(model, ops, Patience)
	v := Verdict{Judged: c.judged(), Undecided: result == porcupine.Unknown}
	if result == porcupine.Illegal {
		v.Violation = c.sentence(ops, info)
		v.Explain = func(path string) error {
			if err := porcupine.VisualizePath(model, info, path); err != nil {
				return fmt.Errorf("drawing a history: %w", err)
			}
			return nil
		}
	}
	return v
}

// checker is the model of one window.
type checker struct {
	window  *Window
	numbers numbers
	views   []view
	kept    []Version // of the views: versions that look the same are one
	vague   set       // subjects with lost operations: their rejoins are not known
}

func newChecker(w *Window) *checker {
	c := &checker{window: w, numbers: numbers{}}
	for i, s := range w.Subjects {
		c.numbers[s] = i
	}
	for _, o := range w.Lost {
		if i := c.numbers.of(o.Subject); i >= 0 {
			c.vague = c.vague.with(i, true)
		}
	}
	for _, version := range w.Versions {
		v := c.numbers.view(version.State)
		if n := len(c.views); n > 0 && c.views[n-1] == v && !v.unknown {
			continue
		}
		c.views, c.kept = append(c.views, v), append(c.kept, version)
	}
	return c
}

// seen is the input of a version.
type seen struct{ version int }

// history is the operations and the versions as porcupine takes them.
func (c *checker) history() []porcupine.Operation {
	ops := make([]porcupine.Operation, 0, len(c.window.Operations)+len(c.kept))
	for k := 1; k < len(c.kept); k++ {
		ops = append(ops, porcupine.Operation{ClientId: 0, Input: seen{k}, Call: c.kept[k].From, Return: c.kept[k].Until})
	}
	for i := range c.window.Operations {
		o := &c.window.Operations[i]
		ops = append(ops, porcupine.Operation{ClientId: o.Caller + 1, Input: o, Call: o.Call, Return: o.Return})
	}
	return ops
}

// state is where a linearisation has got to: at a version, or just after the operation
// that makes it the next one.
type state struct {
	version int
	applied bool
	rejoins
}

func (c *checker) model() porcupine.Model {
	seed := maphash.MakeSeed()
	model := porcupine.NondeterministicModel{
		Init:  func() []any { return []any{state{}} },
		Step:  func(s, in, _ any) []any { return c.step(s.(state), in) },
		Hash:  func(s any) uint64 { return maphash.Comparable(seed, s.(state)) },
		Equal: func(a, b any) bool { return a.(state) == b.(state) },
		DescribeOperation: func(in, _ any) string {
			switch in := in.(type) {
			case seen:
				return "version " + fmt.Sprint(in.version) + ": " + c.views[in.version].describe(c.window.Subjects)
			case *Operation:
				return in.String()
			}
			return "?"
		},
		DescribeState: func(s any) string {
			at := s.(state)
			v := c.views[at.version]
			if at.applied {
				v = c.views[at.version+1]
			}
			return v.describe(c.window.Subjects)
		},
	}
	return model.ToModel()
}

// step returns where s can get to by a version or an operation; nowhere: it cannot come
// next.
func (c *checker) step(s state, in any) []any {
	switch in := in.(type) {
	case seen:
		if s, ok := c.see(s, in.version); ok {
			return []any{s}
		}
	case *Operation:
		if !s.applied { // else the version that the last one made comes first
			return c.do(s, in)
		}
	}
	return nil
}

// see moves on to a version.
func (c *checker) see(s state, version int) (state, bool) {
	if version != s.version+1 {
		return s, false
	}
	now, next := c.views[s.version], c.views[version]
	switch {
	case s.applied:
	case now.unknown || next.unknown:
		s.rejoins = rejoins{}
	default:
		r, ok := c.byItself(now, next, s.rejoins, c.kept[version])
		if !ok {
			return s, false
		}
		s.rejoins = r
	}
	s.version, s.applied = version, false
	return s, true
}

// do answers an operation at the version where s is.
func (c *checker) do(s state, o *Operation) []any {
	v := c.views[s.version]
	if v.unknown || Retry(o.Code) {
		return []any{s}
	}
	next := view{unknown: true}
	if s.version+1 < len(c.views) {
		next = c.views[s.version+1]
	}
	var all []any
	for _, out := range c.outcomes(o, v, s.rejoins) {
		if out.code != o.Code {
			continue
		}
		switch {
		case out.next == v:
			all = append(all, state{version: s.version, rejoins: out.rejoins})
		case !next.unknown && becomes(out.next, next) && c.kept[s.version+1].From <= o.Return:
			all = append(all, state{version: s.version, applied: true, rejoins: out.rejoins})
		}
	}
	return all
}

func (c *checker) outcomes(o *Operation, v view, r rejoins) []outcome {
	i := c.numbers.of(o.Subject)
	for n := range r {
		r[n].known = r[n].known && !c.vague.has(n)
	}
	return rules[o.Kind](o, i, v, r)
}

// becomes says whether v is next, or becomes it as somebody succeeds a host that is gone.
func becomes(v, next view) bool {
	if v == next {
		return true
	}
	if v.host == next.host || v.host < 0 || next.host < 0 || next.places[next.host].id == 0 {
		return false
	}
	v.succeed(next.host)
	return v == next
}

// byItself says whether time, the network or a lost operation can have made next of v.
func (c *checker) byItself(v, next view, r rejoins, at Version) (rejoins, bool) {
	by := v
	for i := range by.places {
		if !c.alone(&by, next, i, &r[i], at.Left[c.subject(i)]) {
			return r, c.byLost(v, next, r, at)
		}
	}
	return r, becomes(by, next) || c.byLost(v, next, r, at)
}

// alone does to one subject's place what can have happened to it by itself.
func (c *checker) alone(v *view, next view, i int, r *rejoin, left room.Code) bool {
	was, is := v.places[i], next.places[i]
	same := was.id == is.id && was.session == is.session
	switch {
	case same && was.status == is.status: // its role is becomes' to judge
		return true
	case same:
		return v.passes(i, is.status)
	case is.id == 0 && was.ends(left):
		v.remove(i)
	case was.id == is.id && was.visible() && is.status == room.Entered && (c.vague.has(i) || r.mayTakeOver(is.session)):
		v.places[i].session, v.places[i].status = is.session, is.status
	default:
		return false
	}
	*r = rejoin{known: true}
	return true
}

// ends says whether a place can be gone for a reason without anybody asking.
func (p place) ends(why room.Code) bool {
	return why == room.Expired && p.status != room.Entered || why == room.Failed && !p.visible()
}

// mayTakeOver says whether a session can take a place over now, as its connection stands.
func (r *rejoin) mayTakeOver(session string) bool {
	return !r.known || r.opened && r.session == session
}

// passes moves a place to the status that it can get to without anybody asking.
func (v *view) passes(i int, to room.Status) bool {
	switch from := v.places[i].status; {
	case from == room.Connecting && to == room.Associated, from == room.Entered && to == room.Away:
		v.places[i].status = to
	case from == room.Associated && to == room.Entered:
		v.enter(i)
	default:
		return false
	}
	return true
}

// byLost says whether an operation whose answer was lost can have made next of v.
func (c *checker) byLost(v, next view, r rejoins, at Version) bool {
	for _, o := range c.window.Lost {
		if o.Call > at.Until {
			continue
		}
		o.Code = ""
		if i := c.numbers.of(o.Subject); i >= 0 && (o.Kind == Join || o.Kind == Resume) {
			o.Session, o.Member = next.places[i].session, next.places[i].id
		}
		for _, out := range c.outcomes(&o, v, r) {
			if out.code == "" && becomes(out.next, next) {
				return true
			}
		}
	}
	return false
}

func (c *checker) subject(i int) string {
	if i < len(c.window.Subjects) {
		return c.window.Subjects[i]
	}
	return ""
}

// judged counts the operations that cannot hide in a time of which nothing is known.
func (c *checker) judged() int {
	n := 0
	for _, o := range c.window.Operations {
		hidden := c.views[0].unknown && (len(c.kept) == 1 || o.Call <= c.kept[1].Until)
		for k := 1; k < len(c.kept) && !hidden; k++ {
			hidden = c.views[k].unknown && o.Return >= c.kept[k].From && (k+1 == len(c.kept) || o.Call <= c.kept[k+1].Until)
		}
		if !hidden && !Retry(o.Code) && o.Code != room.Frozen {
			n++
		}
	}
	return n
}

// sentence says what could not be placed: of the longest order that was found, what
// should have come next.
func (c *checker) sentence(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, partial := range partition {
			if len(partial) > len(longest) {
				longest = partial
			}
		}
	}
	placed := map[any]bool{}
	version := 0
	for _, o := range longest {
		placed[o.Input] = true
		if s, ok := o.Input.(seen); ok {
			version = s.version
		}
	}
	left := slices.DeleteFunc(ops, func(o porcupine.Operation) bool { return placed[o.Input] })
	if len(left) == 0 {
		return "no order explains this history"
	}
	first := slices.MinFunc(left, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	here := c.views[version].describe(c.window.Subjects)
	if s, ok := first.Input.(seen); ok {
		return fmt.Sprintf("nothing explains that the room, %s, became %s", here, c.views[s.version].describe(c.window.Subjects))
	}
	return fmt.Sprintf("nothing explains %s while the room was %s", first.Input.(*Operation), here)
}

func (o *Operation) String() string {
	s := string(o.Kind)
	if o.Subject != "" {
		s += " " + o.Subject
	}
	if o.Session != "" {
		s += fmt.Sprintf(" session %.6s", o.Session)
	}
	if o.Member != 0 {
		s += fmt.Sprintf(" member %d", o.Member)
	}
	answer := "granted"
	if o.Code != "" {
		answer = string(o.Code)
	}
	return fmt.Sprintf("%s (%s) -> %s", s, o.Via, answer)
}
