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

func (p *postings) add(of postingContent, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.underWay == nil {
		p.underWay = make(map[postingContent]int)
	}
	if p.underWay[of] += n; p.underWay[of] == 0 {
		delete(p.underWay, of)
	}
}

func (p *postings) addUnknown(of postingContent, posting unknownPosting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alike, _ := p.unknown.get(of)
	alike = append(slices.Clone(alike), posting)
	p.unknown.put(of, alike[max(0, len(alike)-mostUnknownAlike):])
}
