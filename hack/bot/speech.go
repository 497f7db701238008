package bot

import (
	"bytes"
	_ "embed" // the recording
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// speech.ogg is nine seconds of synthetic speech (espeak-ng), Opus at 48 kHz in
// frames of 20 ms, one frame a page.
//
//go:embed speech.ogg
var speech []byte

// Recording is the Ogg file that Speech reads. It is not to be changed.
func Recording() []byte { return speech }

// FrameDuration is the length of each frame of Speech.
const FrameDuration = 20 * time.Millisecond

// Speech returns the Opus frames of the shipped recording, in order.
func Speech() ([][]byte, error) {
	r, _, err := oggreader.NewWith(bytes.NewReader(speech))
	if err != nil {
		return nil, fmt.Errorf("reading the speech recording: %w", err)
	}
	var frames [][]byte
	for {
		page, _, err := r.ParseNextPage()
		switch {
		case errors.Is(err, io.EOF):
			return frames, nil
		case err != nil:
			return nil, fmt.Errorf("reading the speech recording: %w", err)
		case bytes.HasPrefix(page, []byte("OpusTags")):
		default:
			frames = append(frames, page)
		}
	}
}
