package letagentpay

import (
	"slices"
	"sync"
	"time"
)

// postingContent is equal for identical purchases of an agent, whatever their category and currency are called.
type postingContent struct {
	identity string
	content  content // without names
}

// postings are the purchases of a process that may have made requests unknown to it. It is safe for concurrent use.
type postings struct {
	mu       sync.Mutex
	underWay map[postingContent]int
	unknown  *recent[postingContent, []unknownPosting]
}

// unknownPosting is a posting with an unknown outcome: its key, and when its attempts were under way.
type unknownPosting struct {
	key           string
	first, latest time.Time
}

const (
	maxUnknown      = 1 << 10 // remembered contents
	maxUnknownAlike = 16      // remembered postings of one content
)

func (ps *postings) add(of postingContent, n int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.underWay == nil {
		ps.underWay = make(map[postingContent]int)
	}
	if ps.underWay[of] += n; ps.underWay[of] == 0 {
		delete(ps.underWay, of)
	}
}

func (ps *postings) addUnknown(of postingContent, posting unknownPosting) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	alike, _ := ps.unknown.get(of)
	alike = append(slices.Clone(alike), posting)
	ps.unknown.put(of, alike[max(0, len(alike)-maxUnknownAlike):])
}
