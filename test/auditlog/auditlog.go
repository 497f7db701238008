// Package auditlog reads the audit log of a kube-apiserver that hack/controlplane started:
// who wrote what.
package auditlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Write is a request that writes, once it is complete.
type Write struct {
	User      string
	Verb      string // create, update, patch, delete, deletecollection
	Resource  string // with its subresource, such as voicerooms/status
	Namespace string
	Name      string
	At        time.Time // when it was received
}

// String names what was written.
func (w Write) String() string { return w.Verb + " " + w.Resource }

// Log is an audit log that grows. It is not safe for concurrent use.
type Log struct {
	Path   string
	offset int64
}

// event is what counts of a line (audit.k8s.io/v1, Event).
type event struct {
	Verb      string                    `json:"verb"`
	User      struct{ Username string } `json:"user"`
	ObjectRef *struct {
		Resource, Subresource, Namespace, Name string
	} `json:"objectRef"`
	RequestReceivedTimestamp time.Time `json:"requestReceivedTimestamp"`
}

// Next returns the writes since the last call, in the order in which they were complete.
func (l *Log) Next() ([]Write, error) {
	f, err := os.Open(l.Path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	lines := bufio.NewReaderSize(f, 1<<16)
	var writes []Write
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return writes, nil // the rest of a line comes with the next call
		case err != nil:
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		l.offset += int64(len(line))
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if o := e.ObjectRef; o != nil {
			w := Write{User: e.User.Username, Verb: e.Verb, Resource: o.Resource, Namespace: o.Namespace, Name: o.Name, At: e.RequestReceivedTimestamp}
			if o.Subresource != "" {
				w.Resource += "/" + o.Subresource
			}
			writes = append(writes, w)
		}
	}
}
