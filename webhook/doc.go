// Package webhook tells the deployer's back end what happens in every room: signed
// POSTs of room events, of each room in order, at least once.
//
// A [Sender] is told of snapshots and events by whoever follows the rooms, and keeps
// what the receiver has not acknowledged in memory, within bounds. It stores nothing:
// the cursor (epoch, seq) belongs to the receiver, which may say it in every answer.
//
//	sender, err := webhook.New(webhook.Config{URL: url, Secrets: read, ...}, rooms)
//	go sender.Start(ctx)
//	sender.Snapshot(state)        // the room begins, moved, or was lost from sight
//	sender.Event(state.ID, event) // the next one
//	sender.Ended(id, at, reason, message)
//
// Three kinds of [Delivery] go out. [Resync] is the whole room: the first of every
// feed, of every epoch, and after events were dropped. [Events] are the next ones,
// without a gap. [Ended] is the last. A receiver that answers a resync with an older
// cursor of the same epoch gets the events in between, if the room's pod still
// remembers them; so nothing is missed when the sender's process dies.
//
// One delivery of a room is under way at a time, and at most [Concurrency] in all. A
// receiver that is slow or away delays nobody: a room whose queue overflows loses it,
// and is resynced later.
//
// docs/webhooks.md is the description for receivers.
package webhook
