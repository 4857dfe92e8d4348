package letagentpay_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// guardingHandler returns a guard that prices requests by their Price header.
func guardingHandler(client *letagentpay.Client, next http.HandlerFunc) *letagentpay.GuardHandler {
	return &letagentpay.GuardHandler{Client: client, Price: priceHeader, Next: next}
}

// visit serves one request over a socket, on HTTP/1 or HTTP/2, and returns what the client received. The error is the
// client's error if the server breaks the connection.
func visit(t *testing.T, http2 bool, next http.HandlerFunc) (
	server *letagentpaytest.Server, status int, body string, err error,
) {
	server = serve(t)
	served := make(chan struct{})
	guard := guardingHandler(server.Client(), next)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		guard.ServeHTTP(w, r)
	}))
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	front.EnableHTTP2 = http2
	if http2 {
		front.StartTLS()
	} else {
		front.Start()
	}
	defer front.Close()
	response, err := front.Client().Do(priced(t.Context(), t, http.MethodPost, front.URL, "30"))
	if err != nil {
		<-served
		return server, 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	<-served
	return server, response.StatusCode, string(data), err
}

func TestGuardHandlerJudgesByWhatTheClientWasSent(t *testing.T) {
	const content = "the paid content"
	write := func(w http.ResponseWriter) { _, _ = w.Write([]byte(content)) }
	flush := func(w http.ResponseWriter) { w.(http.Flusher).Flush() }
	// does returns a handler that takes steps: a status, a function or the text of a panic.
	does := func(steps ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, step := range steps {
				switch step := step.(type) {
				case int:
					w.WriteHeader(step)
				case func(http.ResponseWriter):
					step(w)
				case string:
					panic(step)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		next   http.HandlerFunc
		status int // 0: the connection breaks
		body   string
		spent  string
	}{
		"nothing":                  {does(), 200, "", "30.00"},
		"a status":                 {does(201), 201, "", "30.00"},
		"a redirect":               {does(303), 303, "", "30.00"},
		"an error":                 {does(500, write), 500, content, "0.00"},
		"two statuses":             {does(201, 500), 201, "", "30.00"},
		"an error, then a success": {does(404, 200, write), 404, content, "0.00"},
		"hints, then an error":     {does(103, 500), 500, "", "0.00"},
		"hints, then nothing":      {does(103), 200, "", "30.00"},
		"a body, then an error":    {does(write, 500), 200, content, "30.00"},
		"a flush, then an error":   {does(flush, 500), 200, "", "30.00"},
		"a status out of range":    {does(42), 0, "", "0.00"},
		"a panic":                  {does("before"), 0, "", "0.00"},
		"a panic after hints":      {does(103, "before"), 0, "", "0.00"},
		"a panic after a body":     {does(write, flush, "after"), 0, "", "30.00"},
		"a panic after an error":   {does(500, flush, "after"), 0, "", "0.00"},
		"no bytes, then an error": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(nil)
			w.WriteHeader(500)
		}, 200, "", "30.00"},
		"a string, then an error": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, content)
			w.WriteHeader(500)
		}, 200, content, "30.00"},
		"a copy, then an error": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, source(strings.NewReader(content)))
			w.WriteHeader(500)
		}, 200, content, "30.00"},
		"a copy of nothing, then an error": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, source())
			w.WriteHeader(500)
		}, 500, "", "0.00"},
		"an error with a copy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.Copy(w, source(strings.NewReader(content)))
		}, 500, content, "0.00"},
		"a controlled flush": {func(w http.ResponseWriter, _ *http.Request) {
			assert.NoError(t, http.NewResponseController(w).Flush())
			w.WriteHeader(500)
		}, 200, "", "30.00"},
		"a panic amid a copy": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, source(strings.NewReader(strings.Repeat("x", 1000)), panicking{}))
		}, 0, "", "30.00"},
		"a broken copy": {func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, source(iotest.ErrReader(errShop)))
			assert.ErrorIs(t, err, errShop)
			w.WriteHeader(500)
		}, 500, "", "0.00"},
		"a panic before a copy": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, panicking{})
		}, 0, "", "0.00"},
		"a panic after spending": {func(_ http.ResponseWriter, r *http.Request) {
			approval, _ := letagentpay.ApprovalFromContext(r.Context())
			assert.NoError(t, approval.Spent(letagentpay.MustAmount("12"), ""))
			panic("after")
		}, 0, "", "12.00"},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, http2), func(t *testing.T) {
				server, status, body, err := visit(t, http2, c.next)
				if c.status == 0 {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					assert.Equal(t, c.status, status)
					assert.Equal(t, c.body, body)
				}
				require.Len(t, server.Requests(), 1)
				assert.True(t, server.Requests()[0].Status.Final())
				books(t, server, c.spent, "0.00")
			})
		}
	}
}

// source returns the readers' content with no method but Read, so that a writer has to read it.
func source(readers ...io.Reader) io.Reader { return struct{ io.Reader }{io.MultiReader(readers...)} }

// panicking is a reader that panics.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a broken source") }

func TestGuardHandlerThatEndsItsGoroutine(t *testing.T) {
	for name, c := range map[string]struct {
		write bool
		spent string
	}{"before an answer": {false, "0.00"}, "after an answer": {true, "30.00"}} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			handler := guardingHandler(server.Client(), func(w http.ResponseWriter, _ *http.Request) {
				if c.write {
					w.WriteHeader(200)
				}
				runtime.Goexit()
			})
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				handler.ServeHTTP(httptest.NewRecorder(), priced(t.Context(), t, http.MethodPost, "/buy", "30"))
			}()
			<-gone
			books(t, server, c.spent, "0.00")
		})
	}
}

func TestGuardHandlerHandsTheConnectionOver(t *testing.T) {
	for name, hijack := range map[string]func(w http.ResponseWriter) (io.ReadWriteCloser, *bufio.ReadWriter, error){
		"by assertion": func(w http.ResponseWriter) (io.ReadWriteCloser, *bufio.ReadWriter, error) {
			return w.(http.Hijacker).Hijack()
		},
		"by controller": func(w http.ResponseWriter) (io.ReadWriteCloser, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, status, body, err := visit(t, false, func(w http.ResponseWriter, _ *http.Request) {
				conn, buffered, err := hijack(w)
				if !assert.NoError(t, err) {
					return
				}
				defer conn.Close()
				_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
				_ = buffered.Flush()
				panic("after it is served")
			})
			require.NoError(t, err)
			assert.Equal(t, 200, status)
			assert.Equal(t, "hello", body)
			books(t, server, "30.00", "0.00")
		})
	}
	server, status, _, err := visit(t, true, func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := w.(http.Hijacker).Hijack()
		assert.ErrorIs(t, err, http.ErrNotSupported, "HTTP/2 has no connection to hand over")
		w.WriteHeader(500)
	})
	require.NoError(t, err)
	assert.Equal(t, 500, status)
	books(t, server, "0.00", "0.00")
}

func TestGuardHandlerReachesTheWriterBeneath(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		_, status, _, err := visit(t, http2, func(w http.ResponseWriter, _ *http.Request) {
			controller := http.NewResponseController(w)
			assert.NoError(t, controller.SetReadDeadline(time.Now().Add(time.Minute)))
			assert.NoError(t, controller.SetWriteDeadline(time.Now().Add(time.Minute)))
			assert.NoError(t, controller.EnableFullDuplex())
		})
		require.NoError(t, err)
		assert.Equal(t, 200, status)
	}
}

func TestGuardHandlerSaysWhatTheWriterBeneathCannot(t *testing.T) {
	server := serve(t)
	handler := guardingHandler(server.Client(), func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		assert.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
		_, _, err := http.NewResponseController(w).Hijack()
		assert.ErrorIs(t, err, http.ErrNotSupported)
		n, err := io.Copy(w, source())
		assert.NoError(t, err)
		assert.Zero(t, n)
		w.WriteHeader(500)
		n, err = io.Copy(w, source(strings.NewReader("sorry")))
		assert.NoError(t, err)
		assert.EqualValues(t, 5, n)
	})
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(struct{ http.ResponseWriter }{recorder}, priced(t.Context(), t, http.MethodPost, "/buy", "30"))
	assert.Equal(t, 500, recorder.Code)
	assert.Equal(t, "sorry", recorder.Body.String())
	books(t, server, "0.00", "0.00")
}

// readingFrom is a response that records the sources that it copies.
type readingFrom struct {
	*httptest.ResponseRecorder
	sources []io.Reader
}

func (r *readingFrom) ReadFrom(src io.Reader) (int64, error) {
	r.sources = append(r.sources, src)
	return io.Copy(r.ResponseRecorder, src)
}

func TestGuardHandlerLeavesFilesToTheWriterBeneath(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	path := filepath.Join(t.TempDir(), "content")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	server := serve(t)
	handler := guardingHandler(server.Client(), func(w http.ResponseWriter, _ *http.Request) {
		n, err := w.(io.ReaderFrom).ReadFrom(file)
		assert.NoError(t, err)
		assert.EqualValues(t, len(content), n)
	})
	recorder := &readingFrom{ResponseRecorder: httptest.NewRecorder()}
	handler.ServeHTTP(recorder, priced(t.Context(), t, http.MethodPost, "/buy", "30"))
	assert.Equal(t, content, recorder.Body.String())
	require.Equal(t, []io.Reader{file}, recorder.sources, "the file itself, for sendfile")
	books(t, server, "30.00", "0.00")
}

func TestGuardHandlerServesFilesAndRanges(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	path := filepath.Join(t.TempDir(), "content.txt")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	for header, c := range map[string]struct {
		status int
		body   string
		spent  string
	}{
		"":                {200, content, "30.00"},
		"bytes=10-999":    {206, content[10:1000], "30.00"},
		"bytes=99999-":    {416, "invalid range: failed to overlap\n", "0.00"},
		"bytes=9990-9999": {206, content[9990:], "30.00"},
	} {
		t.Run(header, func(t *testing.T) {
			server, status, body, err := visit(t, false, func(w http.ResponseWriter, r *http.Request) {
				r.Method = http.MethodGet
				if header != "" {
					r.Header.Set("Range", header)
				}
				http.ServeFile(w, r, path)
			})
			require.NoError(t, err)
			assert.Equal(t, c.status, status)
			assert.Equal(t, c.body, body)
			books(t, server, c.spent, "0.00")
		})
	}
}

func TestGuardHandlerDoesNotServeWhoHasGone(t *testing.T) {
	for name, leaves := range leaving {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			clientOptions, options := leaves(cancel)
			var refused error
			handler := guardingHandler(server.Client(clientOptions...), func(http.ResponseWriter, *http.Request) {
				t.Error("served")
			})
			handler.Refuse = func(_ http.ResponseWriter, _ *http.Request, err error) { refused = err }
			handler.Options = options
			handler.ServeHTTP(httptest.NewRecorder(), priced(ctx, t, http.MethodPost, "/buy", "30"))
			require.ErrorIs(t, refused, context.Canceled)
			require.Len(t, server.Requests(), 1)
			assert.Equal(t, letagentpay.StatusFailed, server.Requests()[0].Status)
			books(t, server, "0.00", "0.00")
		})
	}
}

func TestRefusalOfAMismatchNamesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		amount := "30"
		h := &letagentpay.GuardHandler{
			Client: server.Client(),
			Price: func(*http.Request) (*letagentpay.PurchaseParams, error) {
				p := underKey(amount, "k")
				return &p, nil
			},
			Next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		amount = "31"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, http.StatusConflict, w.Code)
		assert.JSONEq(t, `{"error":"another purchase has the key or the id of this one",`+
			`"request_id":"`+server.Requests()[0].RequestID+`"}`, w.Body.String())
	})
}
