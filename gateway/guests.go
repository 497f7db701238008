package gateway

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// guestTTL is how long a guest stays the same one.
const guestTTL = 24 * time.Hour

type newGuest struct {
	Name string `json:"name"`
}

type guest struct {
	Ticket    string    `json:"ticket"`
	Subject   string    `json:"subject"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// createGuest makes an identity for somebody who has none. Its subject is ours: a
// client cannot choose whom it is.
func (g *Gateway) createGuest(w http.ResponseWriter, r *http.Request) error {
	if !g.cfg.Guests.Allow {
		return refuse(http.StatusForbidden, codeGuests, "guests are not allowed here")
	}
	if !g.guestLimit.allow(origin(r, g.cfg.TrustedProxies)) {
		return g.guestLimit.refusal()
	}
	asked, err := readJSON[newGuest](r)
	if err != nil {
		return err
	}
	if len(asked.Name) > room.MaxName {
		return refuse(http.StatusBadRequest, mediaapi.BadRequest, "a name is at most %d bytes", room.MaxName)
	}
	id := make([]byte, 16)
	if _, err := io.ReadFull(g.rand, id); err != nil {
		return fmt.Errorf("making a guest: %w", err)
	}
	made := guest{Subject: prefixGuest + hex.EncodeToString(id), ExpiresAt: g.now().Add(guestTTL).UTC()}
	made.Ticket, err = g.minter.Ticket(token.Ticket{Purpose: token.PurposeGuest, Subject: made.Subject, Name: asked.Name, ExpiresAt: made.ExpiresAt})
	if err != nil {
		return keysNotReady(err)
	}
	return writeJSON(w, http.StatusCreated, made)
}

func keysNotReady(err error) error {
	return refuse(http.StatusServiceUnavailable, codeKeysNotReady, "nothing can be signed yet").later().because(err)
}
