// Package telemetry sends the traces of a command to an OpenTelemetry collector, if it is
// told of one. It reads the standard environment, and nothing else:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT   where the collector takes OTLP over HTTP; empty: no traces
//	OTEL_TRACES_SAMPLER, _ARG     which traces; parentbased_traceidratio with 0.01 is one in a hundred
//	OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS and so on
//
// The packages that make spans ask the global provider for a tracer, as libraries do, and
// cost nothing while there is none.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"voiceroom.dev/voiceroom/cmd/internal/release"
)

// flushTime is how long the last spans may take when the command ends.
const flushTime = 3 * time.Second

// protocol is the only one that is spoken.
const protocol = "http/protobuf"

// Start sends the spans of this process from now on, named service unless the environment
// names it. The function that it returns sends what is left and ends that; without a
// collector it does nothing. Call it once, before the first span.
func Start(ctx context.Context, service string, log *slog.Logger) (stop func(), err error) {
	if !Enabled() {
		return func() {}, nil
	}
	if err := checkProtocol(); err != nil {
		return nil, err
	}
	to, err := newCollector()
	if err != nil {
		return nil, fmt.Errorf("preparing to send traces: %w", err)
	}
	exporter, err := otlptrace.New(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("preparing to send traces: %w", err)
	}
	who, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.version", release.Version())), resource.WithFromEnv())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading OTEL_RESOURCE_ATTRIBUTES: %w", err), exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces were not sent", "error", err) }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who)) // the sampler is the environment's
	otel.SetTracerProvider(provider)
	return func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		if err := provider.Shutdown(last); err != nil {
			log.Warn("the last traces were not sent", "error", err)
		}
	}, nil
}

// Enabled says whether the environment names a collector.
func Enabled() bool {
	disabled, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED"))
	return !disabled && (os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "")
}

func checkProtocol() error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" && p != protocol {
			return fmt.Errorf("%s: traces are sent as %s, not %s", name, protocol, p)
		}
	}
	return nil
}
