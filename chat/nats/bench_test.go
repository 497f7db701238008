package nats

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// BenchmarkAddMember takes turns with a bare Put into a JetStream key-value
// bucket of the same server, which is one synced write and no more. It reports
// how many times as long AddMember takes.
func BenchmarkAddMember(b *testing.B) {
	p := start(b, Config{})
	g, err := p.CreateGroup(b.Context(), "room", roomy)
	must(b, err)
	var bucket jetstream.KeyValue
	within(b, p, func(ctx context.Context, st *store) (err error) {
		bucket, err = st.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "floor"})
		return err
	})
	record := []byte(`{"subject":"guest:0","joinedAt":"2026-01-02T03:04:05.678Z"}`)
	var floor, ours time.Duration
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		_, err := bucket.Put(b.Context(), fmt.Sprint("k", i), record)
		floor += time.Since(begin)
		must(b, err)

		begin = time.Now()
		err = p.AddMember(b.Context(), g.ID, chat.Member{Subject: fmt.Sprintf("guest:%d", i)})
		ours += time.Since(begin)
		must(b, err)
	}
	b.ReportMetric(float64(ours)/float64(floor), "x-bare-put")
	b.ReportMetric(float64(floor.Nanoseconds())/float64(b.N), "bare-put-ns/op")
}

// BenchmarkGroup is the count of step 7 of the flow, in a room of 10,000.
func BenchmarkGroup(b *testing.B) {
	const many = 10_000
	p := start(b, Config{})
	g, err := p.CreateGroup(b.Context(), "room", roomy)
	must(b, err)
	var wg sync.WaitGroup
	for part := range 16 {
		wg.Go(func() {
			for i := part; i < many; i += 16 {
				if err := p.AddMember(b.Context(), g.ID, chat.Member{Subject: fmt.Sprintf("guest:%d", i)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.Run("Group", func(b *testing.B) {
		for b.Loop() {
			if got, err := p.Group(b.Context(), g.ID); err != nil || got.Members != many {
				b.Fatalf("%d members, %v", got.Members, err)
			}
		}
	})
	b.Run("Members", func(b *testing.B) {
		for b.Loop() {
			if got, err := p.Members(b.Context(), g.ID); err != nil || len(got) != many {
				b.Fatalf("%d members, %v", len(got), err)
			}
		}
	})
}
