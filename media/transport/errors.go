package transport

import (
	"errors"
	"fmt"
)

// Reasons with which a connection ends or an operation on it fails.
var (
	// ErrTimeout ends a connection whose association was not complete in Config.AssociateTimeout.
	ErrTimeout = errors.New("the client did not connect in time")
	// ErrLost ends a connection that no authenticated STUN request reached for Config.ConsentTimeout.
	ErrLost = errors.New("the client was not heard from")
	// ErrFingerprint ends a connection whose certificate is not the one the offer announced.
	ErrFingerprint = errors.New("the client's certificate does not match its offer")
	// ErrHandshake ends a connection whose DTLS handshake failed for another reason.
	ErrHandshake = errors.New("the DTLS handshake failed")
	// ErrPeerClosed ends a connection that the client closed.
	ErrPeerClosed = errors.New("the client closed the connection")
	// ErrProtocol ends a connection whose client sends on data channels what it must not.
	ErrProtocol = errors.New("the client broke the protocol")
	// ErrServerClosed ends every connection of a Server that is closed.
	ErrServerClosed = errors.New("the media server is closing")
	// ErrClosed is returned by operations on a connection that has ended.
	ErrClosed = errors.New("the connection is closed")

	// ErrNotConnected is returned by operations that need a finished handshake.
	ErrNotConnected = errors.New("the connection is not established yet")
	// ErrWouldBlock is returned when a packet was dropped because the socket's buffer is full.
	ErrWouldBlock = errors.New("the socket's buffer is full")
	// ErrNoDataChannel is returned by Send when the offer had no data channel.
	ErrNoDataChannel = errors.New("the offer has no data channel")
	// ErrBacklog is returned by Send when the message does not fit into what may be queued.
	ErrBacklog = errors.New("too much data is queued for the client")
	// ErrMessageTooLarge is returned by Send for a message above the client's max-message-size.
	ErrMessageTooLarge = errors.New("the message is larger than the client accepts")
	// ErrRestartChanged is returned by Restart for an offer that changes more than ICE credentials.
	ErrRestartChanged = errors.New("an ICE restart may change nothing but ICE credentials")
)

// OfferCode names what is wrong with an offer; it is stable and meant for machines.
type OfferCode string

// The kinds of offers that are refused.
const (
	OfferEmpty         OfferCode = "offer-empty"
	OfferTooLarge      OfferCode = "offer-too-large"
	OfferMalformed     OfferCode = "offer-malformed"
	OfferTooManyMedia  OfferCode = "offer-too-many-media"
	OfferBadMID        OfferCode = "offer-bad-mid"
	OfferNoAudio       OfferCode = "offer-no-audio"
	OfferNoOpus        OfferCode = "offer-no-opus"
	OfferNoICE         OfferCode = "offer-no-ice"
	OfferNoFingerprint OfferCode = "offer-no-fingerprint"
	OfferBadSetup      OfferCode = "offer-bad-setup"
)

// OfferError says why an offer is refused: a code for machines and a sentence for people.
type OfferError struct {
	Code   OfferCode
	Reason string
}

func (e *OfferError) Error() string { return e.Reason }

func badOffer(code OfferCode, format string, args ...any) error {
	return &OfferError{Code: code, Reason: fmt.Sprintf(format, args...)}
}
