package letagentpay

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// digestOf returns a digest of parts. It covers their lengths, so that moving text from one part to the next changes
// it.
func digestOf(parts ...string) [sha256.Size]byte {
	digest := sha256.New()
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		digest.Write(length[:])
		digest.Write([]byte(part))
	}
	return [sha256.Size]byte(digest.Sum(nil))
}

// encodeDigest returns a digest as text for an idempotency key.
func encodeDigest(digest [sha256.Size]byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(digest[:]))
}
