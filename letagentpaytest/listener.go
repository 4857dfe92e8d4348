package letagentpaytest

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
)

// Handler returns the service as a handler for another HTTP server. It serves the paths below /api/v1.
func (s *Server) Handler() http.Handler { return s.serve(s.exchange) }

func (s *Server) serve(exchange func(*http.Request) (delivery, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := exchange(r)
		if err != nil {
			abort(w)
		}
		for name, values := range d.head() {
			w.Header()[name] = values
		}
		w.WriteHeader(d.status)
		if d.pause == 0 {
			_, _ = w.Write(d.body[:d.cut]) // the client may be gone
		}
		for i := 0; d.pause > 0 && i < d.cut; i++ {
			if s.wait(r.Context(), d.pause) != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(d.body[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
		if d.cut < len(d.body) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
}

// abort sends the beginning of an answer and ends the connection. A client's transport may take a connection that ends
// without a byte for a stale one, and silently repeat the call.
func abort(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\n")
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// gated is a handler whose calls Close waits for.
func (s *Server) gated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.handlers.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.handlers.leave()
		next.ServeHTTP(w, r)
	})
}

// exchangeWatched calls exchange under runWatched.
func (s *Server) exchangeWatched(r *http.Request) (d delivery, err error) {
	err = errDropped // unless exchange returns
	s.runWatched(r.Method+" "+r.URL.Path, func() { d, err = s.exchange(r) })
	return d, err
}

// runWatched calls do, a part of the named call, in a goroutine of the server. If a function of the test panics there,
// or ends the goroutine as t.FailNow does, the test fails; outside a test the program crashes. Otherwise the cause
// would be lost: net/http recovers, the client repeats its call, and the test waits for a decision that never comes.
func (s *Server) runWatched(name string, do func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		reason := "runtime.Goexit, which t.FailNow and require use and which belongs in the test's own goroutine"
		if value := recover(); value != nil {
			reason = fmt.Sprintf("panic: %v", value)
		}
		s.failTest(fmt.Sprintf("letagentpaytest: %s did not complete: %s\n\n%s", name, reason, debug.Stack()))
	}()
	do()
	returned = true
}

func (s *Server) failTest(text string) {
	if s.tb == nil {
		go panic(text) // in its own goroutine, because net/http may recover it here
		return
	}
	s.tb.Errorf("%s", text)
}
