// Package red reads and writes the payload of RFC 2198: one frame of sound, the primary, and copies of
// earlier ones, so that a packet that was lost comes with the next.
//
//	 0                   1                    2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3  4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|1|   block PT  |  timestamp offset         |   block length    |  for each copy, oldest first
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|0|   block PT  |                                                  for the primary; then all data
//	+-+-+-+-+-+-+-+-+
//
// It allocates nothing but what the slices that it appends to need, and keeps nothing.
package red

import (
	"encoding/binary"
	"errors"
)

// Limits of what a header can say, and of how much is read.
const (
	MaxOffset = 1<<14 - 1 // clock units: 341 ms of Opus
	MaxLength = 1<<10 - 1 // bytes of a redundant block
	MaxBlocks = 16        // redundant blocks of a payload that is read; none in use sends as many

	// HeadSize and PrimaryHeadSize are the bytes that a redundant block and the primary take besides
	// their data.
	HeadSize        = 4
	PrimaryHeadSize = 1
)

// more marks a head that another one follows.
const more = 0x80

// What is wrong with a payload or a block.
var (
	ErrTruncated     = errors.New("the RED payload ends within a block")
	ErrTooManyBlocks = errors.New("the RED payload has too many blocks")
	ErrPayloadType   = errors.New("a RED block's payload type is above 127")
	ErrOffset        = errors.New("a RED block is too old for its header")
	ErrLength        = errors.New("a RED block is too long for its header")
)

// Block is one frame.
type Block struct {
	PayloadType uint8  // 0 to 127
	Offset      uint32 // how much earlier than the packet's timestamp, in clock units; 0 for the primary
	Data        []byte // may be empty; of a parsed block it is a part of the payload
}

// Parse appends the redundant blocks of a payload to blocks, oldest first, and returns them with the
// primary, which has what the others leave. With room for MaxBlocks it does not allocate. On an error
// there are no new blocks.
func Parse(payload []byte, blocks []Block) (redundant []Block, primary Block, err error) {
	n := 0 // heads of redundant blocks
	for ; ; n++ {
		switch {
		case len(payload) <= n*HeadSize:
			return blocks, Block{}, ErrTruncated
		case n > MaxBlocks:
			return blocks, Block{}, ErrTooManyBlocks
		}
		if payload[n*HeadSize]&more == 0 {
			break
		}
	}
	redundant = blocks
	data := payload[n*HeadSize+PrimaryHeadSize:]
	for i := range n {
		head := binary.BigEndian.Uint32(payload[i*HeadSize:])
		size := int(head & MaxLength)
		if size > len(data) {
			return blocks, Block{}, ErrTruncated
		}
		redundant = append(redundant, Block{PayloadType: uint8(head >> 24 & 0x7f), Offset: head >> 10 & MaxOffset, Data: data[:size:size]})
		data = data[size:]
	}
	return redundant, Block{PayloadType: payload[n*HeadSize], Data: data}, nil
}

// Append appends the payload of redundant, oldest first, and primary to b. On an error b is returned as it was.
func Append(b []byte, redundant []Block, primary Block) ([]byte, error) {
	out := b
	for i := range redundant {
		r := &redundant[i]
		switch {
		case r.PayloadType > 0x7f:
			return b, ErrPayloadType
		case r.Offset > MaxOffset:
			return b, ErrOffset
		case len(r.Data) > MaxLength:
			return b, ErrLength
		}
		out = binary.BigEndian.AppendUint32(out, more<<24|uint32(r.PayloadType)<<24|r.Offset<<10|uint32(len(r.Data)))
	}
	if primary.PayloadType > 0x7f {
		return b, ErrPayloadType
	}
	out = append(out, primary.PayloadType)
	for i := range redundant {
		out = append(out, redundant[i].Data...)
	}
	return append(out, primary.Data...), nil
}
