package room

import "time"

// remember changes what is remembered of a subject, if that changes anything.
func (r *Room) remember(subject string, change func(*Record)) {
	old := r.state.Record(subject)
	rec := old
	if id, ok := r.bySubject[subject]; ok {
		m, _ := r.state.Member(id)
		rec.Name, rec.Member = m.Name, m.ID
	}
	change(&rec)
	if rec != old && (old.says() || rec.says()) {
		r.emit(Event{Type: EventRecord, Record: &rec})
		r.forgetOldest(subject)
	}
}

// forgetOldest forgets one record when a new one makes them more than MaxRecords: guests come
// under a new name each time, and each that is thrown out leaves one. It is of somebody who is
// not here: if there is one who may come in, its; else of those thrown out, who was so first,
// a ban after all kicks. What the spec bans, and newest, stays.
func (r *Room) forgetOldest(newest string) {
	if len(r.state.Records) <= MaxRecords {
		return
	}
	spec := map[string]bool{}
	for _, subject := range r.state.Settings.Spec.Banned {
		spec[subject] = true
	}
	var oldest *Record
	for i := range r.state.Records {
		rec := &r.state.Records[i]
		if _, here := r.bySubject[rec.Subject]; here || spec[rec.Subject] || rec.Subject == newest {
			continue
		}
		if oldest == nil || rec.before(*oldest) {
			oldest = rec
		}
	}
	if oldest != nil {
		r.emit(Event{Type: EventRecord, Record: &Record{Subject: oldest.Subject, Name: oldest.Name, Member: oldest.Member}})
	}
}

// before says whether r is forgotten before o.
func (r Record) before(o Record) bool {
	if r.Banned != o.Banned {
		return o.Banned
	}
	return r.thrownOut().Before(o.thrownOut())
}

// thrownOut is when that was; the zero time: never.
func (r Record) thrownOut() time.Time {
	if r.Kicked == nil {
		return time.Time{}
	}
	return *r.Kicked
}
