package letagentpay_test

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"strings"
	"time"
)

// checkWrite checks a request that a process is about to send against its earlier ones. The function returned takes the
// answer.
func (p *process) checkWrite(r *http.Request) (answered func(*http.Response, error)) {
	ignored := func(*http.Response, error) {}
	switch {
	case strings.HasSuffix(r.URL.Path, "/requests") && r.Method == http.MethodPost:
		return p.checkPurchase(r)
	case strings.HasSuffix(r.URL.Path, "/confirm"):
		return p.checkConfirm(r)
	case r.Method == http.MethodGet && path.Base(path.Dir(r.URL.Path)) == "requests":
		id := path.Base(r.URL.Path)
		return func(response *http.Response, err error) {
			p.world.mu.Lock()
			defer p.world.mu.Unlock()
			if before := p.wire["confirm "+id]; before != nil && err == nil && response.StatusCode == http.StatusOK {
				before.read = true
				if request, _ := p.world.server.Request(id); request.Status.Final() {
					before.mayStillRun = false // as the process knows
				}
			}
		}
	}
	return ignored
}

func (p *process) checkPurchase(r *http.Request) func(*http.Response, error) {
	w, key, a := p.world, r.Header.Get("Idempotency-Key"), attemptOf(r.Context())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted[key] = append(w.posted[key], a)
	before := p.wire["purchase "+key]
	if before != nil {
		pause := time.Since(before.ended)
		switch {
		case before.ended.IsZero():
			w.wrong = append(w.wrong, "a purchase is sent again while the first attempt is under way")
		case before.unclear && pause < 2*time.Second,
			before.mayStillRun && pause < min(before.ended.Sub(before.began), time.Minute):
			w.wrong = append(w.wrong, "a purchase is sent again before the first attempt is certain to be over")
		}
	}
	now := &sentWrite{began: time.Now()}
	p.wire["purchase "+key] = now
	return func(response *http.Response, err error) {
		created := w.idsOf(key)
		w.mu.Lock()
		defer w.mu.Unlock()
		now.answered(response, err)
		for id := range created {
			if _, known := w.creators[id]; !known {
				w.creators[id] = w.creatorOf(key, a)
			}
		}
	}
}

// creatorOf returns the attempt that made a request: the answered one, or nil if the service may have been working on
// another.
func (w *world) creatorOf(key string, answered *attempt) *attempt {
	for _, a := range w.posted[key] {
		if a != answered && (w.races || w.detached) {
			return nil
		}
	}
	return answered
}

func (p *process) checkConfirm(r *http.Request) func(*http.Response, error) {
	w, id := p.world, path.Base(path.Dir(r.URL.Path))
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	defer w.mu.Unlock()
	refund := bytes.Contains(body, []byte(`"success":false`))
	now := &sentWrite{attempt: attemptOf(r.Context()), began: time.Now(), refund: refund}
	if before := p.wire["confirm "+id]; before != nil {
		switch {
		case before.ended.IsZero():
			w.wrong = append(w.wrong, "a confirmation is sent again while the first attempt is under way")
		case before.unclear && !before.read && before.attempt == now.attempt:
			w.wrong = append(w.wrong, "a confirmation is sent again without reading the request")
		case before.mayStillRun && before.refund && now.refund && time.Since(before.ended) < time.Minute:
			w.wrong = append(w.wrong, "a failure confirmation is sent beside one that may still be handled")
		}
	}
	p.wire["confirm "+id] = now
	adjusts := bytes.Contains(body, []byte(`"actual_amount"`))
	return func(response *http.Response, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		now.answered(response, err)
		if adjusts && (now.unclear || response.StatusCode == http.StatusOK) {
			w.adjusted[id]++
		}
	}
}

// answered records how an attempt ended.
func (e *sentWrite) answered(response *http.Response, err error) {
	e.ended = time.Now()
	if err != nil {
		e.unclear, e.mayStillRun = true, true
		return
	}
	gaveUp := response.StatusCode == http.StatusRequestTimeout || response.StatusCode == 499
	e.unclear = gaveUp || response.StatusCode >= 500
	e.mayStillRun = gaveUp || response.StatusCode >= 500 &&
		!strings.Contains(response.Header.Get("Content-Type"), "json")
}

// idsOf returns the ids of the requests under a key.
func (w *world) idsOf(key string) map[string]bool {
	ids := make(map[string]bool)
	for _, r := range w.server.Requests() {
		if r.IdempotencyKey == key {
			ids[r.RequestID] = true
		}
	}
	return ids
}
