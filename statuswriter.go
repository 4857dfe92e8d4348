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

// WriteHeader passes a status on. It counts once it is through: a writer panics at one that makes no sense.
func (sw *statusWriter) WriteHeader(status int) {
	sw.ResponseWriter.WriteHeader(status)
	sw.noteStatus(status)
}

func (sw *statusWriter) Write(p []byte) (int, error) {
	sw.noteStatus(http.StatusOK)
	return sw.ResponseWriter.Write(p)
}

// WriteString is [io.StringWriter].
func (sw *statusWriter) WriteString(s string) (int, error) {
	sw.noteStatus(http.StatusOK)
	return io.WriteString(sw.ResponseWriter, s)
}

// ReadFrom copies a body, with what the system does for it where the underlying writer knows how. The first bytes are
// written, so that the status is noted when there are any.
func (sw *statusWriter) ReadFrom(src io.Reader) (n int64, err error) {
	plain := struct{ io.Writer }{sw}
	from, ok := sw.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(plain, src)
	}
	if sw.status == 0 {
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
func (sw *statusWriter) Flush() { _ = sw.FlushError() }

// FlushError is what [http.ResponseController] calls.
func (sw *statusWriter) FlushError() error {
	err := http.NewResponseController(sw.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		sw.noteStatus(http.StatusOK)
	}
	return err
}

// Hijack hands the connection over to the handler, which has then been served.
func (sw *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(sw.ResponseWriter).Hijack()
	if err == nil {
		sw.noteStatus(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// Unwrap returns the underlying writer, for [http.ResponseController].
func (sw *statusWriter) Unwrap() http.ResponseWriter { return sw.ResponseWriter }

func (sw *statusWriter) noteStatus(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if sw.status == 0 && !informational {
		sw.status = status
	}
}

// outcome returns the error that the purchase ended with; returned says whether the handler did.
func (sw *statusWriter) outcome(returned bool) error {
	switch {
	case sw.status >= 400:
		return fmt.Errorf("answered with status %d", sw.status)
	case sw.status == 0 && !returned:
		return errNotAnswered
	}
	return nil
}
