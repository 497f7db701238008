package natsserver

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// Stats are what a server holds, and what it has done since it started.
type Stats struct {
	Clients      int    // connected now
	Slow         int64  // that were cut because they read too slowly
	Calls        uint64 // of the JetStream API
	CallErrors   uint64
	Stored       uint64 // bytes on disk
	MaxStored    uint64 // bytes that may be
	StreamTotals []StreamStats
}

// StreamStats are of one stream.
type StreamStats struct {
	Name     string
	Messages uint64 // held
	Bytes    uint64 // held
	Written  uint64 // messages ever, also before the server started
}

// Stats fails once the server has stopped.
func (s *Server) Stats() (Stats, error) {
	info, err := s.nats.Jsz(&server.JSzOptions{Streams: true})
	if err != nil {
		return Stats{}, fmt.Errorf("looking at JetStream: %w", err)
	}
	if info.Disabled {
		return Stats{}, errors.New("JetStream has stopped")
	}
	stats := Stats{Clients: s.nats.NumClients(), Slow: s.nats.NumSlowConsumers(), Calls: info.API.Total, CallErrors: info.API.Errors,
		Stored: info.Store, MaxStored: uint64(max(info.Config.MaxStore, 0))}
	for _, account := range info.AccountDetails {
		for _, stream := range account.Streams {
			stats.StreamTotals = append(stats.StreamTotals, StreamStats{Name: stream.Name, Messages: stream.State.Msgs, Bytes: stream.State.Bytes,
				Written: stream.State.LastSeq})
		}
	}
	return stats, nil
}
