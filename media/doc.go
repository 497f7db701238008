// Package media is the server of a media pod: it runs one room, and only ever one.
//
// # What runs where
//
// The keeper is one goroutine that owns the pod's [room.Room]. Every command goes
// through it, whether it comes from the control API, from a client's data channel
// or from the end of a connection, so that it is the room's one linearisation
// point. What a command changed goes from there, in the same step, to three places:
// to the forwarder, which is told at once whose audio may flow; to the control
// plane's watchers; and to the clients, in batches.
//
// The forwarder is the room's forwarding context: one lock over the grants, the
// ranking and the listeners' slots, taken for each packet of a talker, for each change, and for
// each batch of packets that is sent. People on a microphone are sent what is said at once; the
// audience is divided among shards, one a core, which serve it on a tick. When the keeper has taken a
// grant away and released the lock, no packet
// of it is handed to the network any more: a command that has returned is in force. The
// fence is the number of the grant: see talker.
//
// The control API (package mediaapi) is HTTPS inside the cluster; its handlers only
// authenticate, decode and ask the keeper; one that waits until a command is durable does so
// outside of it. Health and metrics are plain HTTP.
//
// The keyring holds the public keys. When one of room tokens is taken away before its time,
// the keeper ends what it let in; a push of keys is answered after that.
//
// # The end
//
// A pod serves one room in its life. [Server.Run] returns nil once the room is
// closed, once the last client of a sealed or drained pod has gone, or when no lease was
// renewed for [room.StopAfter]; the process then exits 0, and the pod is not used again.
//
// A room that moves to another pod on purpose takes its clients along without a gap: once
// the other pod has the room, the operator says so here, and the clients are sent after it
// while their connections to this pod stand. See departure.
package media
