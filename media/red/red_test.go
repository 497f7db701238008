package red_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"voiceroom.dev/voiceroom/media/red"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		payload   []byte
		redundant []red.Block
		primary   red.Block
		err       error
	}{
		"primary only": {
			payload: []byte{111, 'n', 'o', 'w'},
			primary: red.Block{PayloadType: 111, Data: []byte("now")},
		},
		"as Chromium sends it": { // 960 << 10 | 3
			payload:   []byte{0x80 | 111, 0x0f, 0x00, 3, 111, 'o', 'l', 'd', 'n', 'o', 'w'},
			redundant: []red.Block{{PayloadType: 111, Offset: 960, Data: []byte("old")}},
			primary:   red.Block{PayloadType: 111, Data: []byte("now")},
		},
		"several, of unequal sizes": {
			payload: []byte{0x80 | 111, 0x1e, 0x00, 1, 0x80 | 96, 0x0f, 0x00, 0, 0x80, 0xff, 0xfc, 2, 127, 'a', 'b', 'c'},
			redundant: []red.Block{
				{PayloadType: 111, Offset: 1920, Data: []byte("a")}, {PayloadType: 96, Offset: 960}, {Offset: red.MaxOffset, Data: []byte("bc")},
			},
			primary: red.Block{PayloadType: 127},
		},
		"empty":                     {err: red.ErrTruncated},
		"no primary":                {payload: []byte{0x80 | 111, 0, 0, 0}, err: red.ErrTruncated},
		"part of a head":            {payload: []byte{0x80 | 111, 0, 0}, err: red.ErrTruncated},
		"part of a block":           {payload: []byte{0x80 | 111, 0, 0, 4, 111, 'o', 'l', 'd'}, err: red.ErrTruncated},
		"a length with high bits":   {payload: []byte{0x80 | 111, 0, 0x01, 0, 111, 'o', 'l', 'd'}, err: red.ErrTruncated},
		"as many blocks as allowed": {payload: append(bytes.Repeat([]byte{0x80, 0, 4, 0}, red.MaxBlocks), 1), primary: red.Block{PayloadType: 1}, redundant: many(red.MaxBlocks)},
		"a block too many":          {payload: append(bytes.Repeat([]byte{0x80, 0, 4, 0}, red.MaxBlocks+1), 1), err: red.ErrTooManyBlocks},
	} {
		t.Run(name, func(t *testing.T) {
			before := []red.Block{{PayloadType: 9}}
			redundant, primary, err := red.Parse(tc.payload, before)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(append(before, tc.redundant...), redundant, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("redundant (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.primary, primary, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("primary (-want +got):\n%s", diff)
			}
			if tc.err != nil {
				return
			}
			if again, err := red.Append([]byte("head"), redundant[1:], primary); err != nil || !bytes.Equal(again, append([]byte("head"), tc.payload...)) {
				t.Errorf("appended %x, %v; want %x", again, err, tc.payload)
			}
		})
	}
}

// many blocks whose offset is 1.
func many(n int) []red.Block {
	blocks := make([]red.Block, n)
	for i := range blocks {
		blocks[i].Offset = 1
	}
	return blocks
}

func TestAppendRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		redundant, primary red.Block
		err                error
	}{
		"payload type of a block":    {red.Block{PayloadType: 128}, red.Block{}, red.ErrPayloadType},
		"payload type of the packet": {red.Block{}, red.Block{PayloadType: 255}, red.ErrPayloadType},
		"offset":                     {red.Block{Offset: red.MaxOffset + 1}, red.Block{}, red.ErrOffset},
		"length":                     {red.Block{Data: make([]byte, red.MaxLength+1)}, red.Block{}, red.ErrLength},
		"nothing":                    {red.Block{Offset: red.MaxOffset, Data: make([]byte, red.MaxLength)}, red.Block{Data: make([]byte, 2000)}, nil},
	} {
		out, err := red.Append([]byte("head"), []red.Block{tc.redundant}, tc.primary)
		if !errors.Is(err, tc.err) || err != nil && string(out) != "head" {
			t.Errorf("%s: %d bytes, error %v, want %v", name, len(out), err, tc.err)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	payload := []byte{0x80 | 111, 0x0f, 0x00, 3, 111, 'o', 'l', 'd', 'n', 'o', 'w'}
	blocks, out := make([]red.Block, 0, red.MaxBlocks), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		redundant, primary, err := red.Parse(payload, blocks)
		if err == nil {
			_, err = red.Append(out, redundant, primary)
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What can be read is written again byte for byte, and no block reaches beyond the payload.
func FuzzParse(f *testing.F) {
	f.Add([]byte{111, 'n', 'o', 'w'})
	f.Add([]byte{0x80 | 111, 0x0f, 0x00, 3, 111, 'o', 'l', 'd', 'n', 'o', 'w'})
	f.Add([]byte{0x80 | 111, 0x1e, 0x00, 3, 0x80 | 111, 0x0f, 0x00, 2, 111, 'o', 'l', 'd', 'e', 'r', 'n', 'o', 'w'})
	f.Add([]byte{0x80 | 63, 0, 0, 3, 63, 0x80, 0, 0, 0, 63}) // RED in RED
	f.Add([]byte{0x80 | 111, 0xff, 0xff, 0xff, 111})
	f.Add(append(bytes.Repeat([]byte{0x80, 0, 0, 0}, red.MaxBlocks), 0))
	f.Add(append(bytes.Repeat([]byte{0x80, 0, 0, 0}, red.MaxBlocks+1), 0))
	f.Fuzz(func(t *testing.T, payload []byte) {
		redundant, primary, err := red.Parse(payload, nil)
		if err != nil {
			if len(redundant) != 0 || primary.Data != nil {
				t.Errorf("blocks with the error %v", err)
			}
			return
		}
		again, err := red.Append(nil, redundant, primary)
		if err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x was read, %x written: %v", payload, again, err)
		}
	})
}
