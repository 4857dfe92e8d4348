package letagentpay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// statusWriter notes the status that a client is sent, as net/http decides on it: the first one written counts, and a
// body that begins without one has 200. What it does not handle itself, such as deadlines, a handler finds with
// [http.ResponseController].
type statusWriter struct {
	http.ResponseWriter
	status int // 0: none yet
}

// outcome returns the error that the purchase ended with; returned says whether the handler did.
func (w *statusWriter) outcome(returned bool) error {
	switch {
	case w.status >= 400:
		return fmt.Errorf("answered with status %d", w.status)
	case w.status == 0 && !returned:
		return errNotAnswered
	}
	return nil
}

func (w *statusWriter) sent(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if w.status == 0 && !informational {
		w.status = status
	}
}

// WriteHeader passes a status on. It counts once it is through: a writer panics at one that makes no sense.
func (w *statusWriter) WriteHeader(status int) {
	w.ResponseWriter.WriteHeader(status)
	w.sent(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.sent(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// WriteString is [io.StringWriter].
func (w *statusWriter) WriteString(s string) (int, error) {
	w.sent(http.StatusOK)
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom copies a body, with what the system does for it where the underlying writer knows how. The first bytes are
// written, so that the status is noted when there are any.
func (w *statusWriter) ReadFrom(src io.Reader) (n int64, err error) {
	plain := struct{ io.Writer }{w}
	from, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(plain, src)
	}
	if w.status == 0 {
		const first = 512 // what net/http looks at for the content type
		if n, err = io.CopyN(plain, src, first); err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
	rest, err := from.ReadFrom(src)
	return n + rest, err
}

// Flush sends what is buffered, for handlers that look for an [http.Flusher].
func (w *statusWriter) Flush() { _ = w.FlushError() }

// FlushError is what [http.ResponseController] calls.
func (w *statusWriter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		w.sent(http.StatusOK)
	}
	return err
}

// Hijack hands the connection over to the handler, which has then been served.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.sent(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// Unwrap returns the underlying writer, for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
