package letagentpaytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// memoryServers numbers the in-memory servers of a process. Each gets its own host name, as socket servers get their
// own port: clients of two servers must not share idempotency keys, even if a seed makes their tokens equal. Host names
// that end in .test are reserved and never resolve.
var memoryServers atomic.Uint64

// memoryTransport calls an in-memory server. A call runs in the caller's goroutine, unless it may outlive the caller.
type memoryTransport struct{ server *Server }

// RoundTrip implements [http.RoundTripper].
func (t memoryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if !strings.EqualFold(r.URL.Scheme+"://"+r.URL.Host, t.server.memoryHost) {
		return nil, fmt.Errorf("letagentpaytest: the client of an in-memory server reaches %s only, not %s",
			t.server.memoryHost, r.URL.Host)
	}
	if t.server.life.Err() != nil {
		return nil, errClosed
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	d, err := t.server.exchange(r)
	if err == nil {
		err = r.Context().Err() // carried out, but the caller has given up
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:        strconv.Itoa(d.status) + " " + http.StatusText(d.status),
		StatusCode:    d.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        d.head(),
		ContentLength: int64(len(d.body)),
		Body: &memoryBody{
			server:   t.server,
			ctx:      r.Context(),
			delivery: d,
			rest:     bytes.NewReader(d.body[:d.cut]),
		},
		Request: r,
	}, nil
}

// memoryBody is the body of an answer that may be slow or cut short.
type memoryBody struct {
	delivery
	server *Server
	ctx    context.Context
	rest   *bytes.Reader
	closed bool
}

func (b *memoryBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, errors.New("letagentpaytest: read of a closed body")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.pause > 0 && b.rest.Len() > 0 {
		p = p[:1]
		if err := b.server.wait(b.ctx, b.pause); err != nil {
			return 0, err
		}
	} else if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.rest.Read(p)
	if err == io.EOF && b.cut < len(b.body) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *memoryBody) Close() error {
	b.closed = true
	return nil
}
