package letagentpay

import (
	"slices"
	"sync"
	"time"
)

// postingContent names identical purchases of an agent.
type postingContent struct {
	identity              string
	amount                Amount
	merchant, description string
}

// postings are the purchases of a process that may have made requests that it does not know.
type postings struct {
	mu       sync.Mutex
	underWay map[postingContent]int
	unknown  *recent[postingContent, []unknownPosting]
}

// unknownPosting is one whose outcome has stayed unknown.
type unknownPosting struct {
	key           string
	first, latest time.Time
}

const (
	mostUnknown      = 1 << 10 // contents
	mostUnknownAlike = 16      // of one content
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
	ps.unknown.put(of, alike[max(0, len(alike)-mostUnknownAlike):])
}
