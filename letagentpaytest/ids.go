package letagentpaytest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
)

// idSource makes request ids and tokens. They are unique within a server, and the same seed gives the same sequence.
type idSource struct {
	seed uint64
	next atomic.Uint64
}

func (s *idSource) word() uint64 {
	// The finalizer of the SplitMix64 generator: a bijection, so no two counters give the same word.
	const golden = 0x9e3779b97f4a7c15
	x := s.seed + s.next.Add(1)*golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// uuid returns an id in the form of a random UUID.
func (s *idSource) uuid() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], s.word())
	binary.BigEndian.PutUint64(raw[8:], s.word())
	raw[6] = raw[6]&0x0f | 0x40 // version 4
	raw[8] = raw[8]&0x3f | 0x80 // RFC 9562 variant
	var text [36]byte
	hex.Encode(text[:8], raw[:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:], raw[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// token returns an agent token in the service's form.
func (s *idSource) token() string {
	var raw [32]byte
	for i := 0; i < len(raw); i += 8 {
		binary.BigEndian.PutUint64(raw[i:], s.word())
	}
	return "agt_" + base64.RawURLEncoding.EncodeToString(raw[:])
}
