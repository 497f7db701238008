package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"voiceroom.dev/voiceroom/chat/nats/natsserver"
)

// collector reads the server's own counters when Prometheus asks. Two streams hold
// everything: one that ends in -state has the groups and their members, one that ends in
// -messages what people wrote.
type collector struct {
	stats func() (natsserver.Stats, error)
}

var (
	clientsDesc  = prometheus.NewDesc("voiceroom_chat_clients", "Operators and gateways that are connected.", nil, nil)
	slowDesc     = prometheus.NewDesc("voiceroom_chat_slow_clients_total", "Clients that were cut off because they read too slowly.", nil, nil)
	callsDesc    = prometheus.NewDesc("voiceroom_chat_calls_total", "Calls of the JetStream API.", nil, nil)
	errorsDesc   = prometheus.NewDesc("voiceroom_chat_call_errors_total", "Calls of the JetStream API that failed, those for what does not exist included.", nil, nil)
	storedDesc   = prometheus.NewDesc("voiceroom_chat_stored_bytes", "Bytes on disk.", nil, nil)
	maxDesc      = prometheus.NewDesc("voiceroom_chat_max_stored_bytes", "Most bytes that may be on disk; then writes are refused.", nil, nil)
	messagesDesc = prometheus.NewDesc("voiceroom_chat_stream_messages", "Records that a stream holds: groups and members in -state, what people wrote in -messages.", []string{"stream"}, nil)
	bytesDesc    = prometheus.NewDesc("voiceroom_chat_stream_bytes", "Bytes that a stream holds.", []string{"stream"}, nil)
	writtenDesc  = prometheus.NewDesc("voiceroom_chat_stream_written_total", "Records that were ever written to a stream: changes of groups and members, or messages.", []string{"stream"}, nil)
)

func newRegistry(stats func() (natsserver.Stats, error)) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{stats}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Describe implements prometheus.Collector.
func (*collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{clientsDesc, slowDesc, callsDesc, errorsDesc, storedDesc, maxDesc, messagesDesc, bytesDesc, writtenDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s, err := c.stats()
	if err != nil {
		out <- prometheus.NewInvalidMetric(clientsDesc, err)
		return
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	send(clientsDesc, prometheus.GaugeValue, float64(s.Clients))
	send(slowDesc, prometheus.CounterValue, float64(s.Slow))
	send(callsDesc, prometheus.CounterValue, float64(s.Calls))
	send(errorsDesc, prometheus.CounterValue, float64(s.CallErrors))
	send(storedDesc, prometheus.GaugeValue, float64(s.Stored))
	send(maxDesc, prometheus.GaugeValue, float64(s.MaxStored))
	for _, stream := range s.StreamTotals {
		send(messagesDesc, prometheus.GaugeValue, float64(stream.Messages), stream.Name)
		send(bytesDesc, prometheus.GaugeValue, float64(stream.Bytes), stream.Name)
		send(writtenDesc, prometheus.CounterValue, float64(stream.Written), stream.Name)
	}
}
