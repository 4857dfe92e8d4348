package letagentpay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// statusWriter records the status that is sent to the client, by the rules of net/http: the first status written
// counts, and a body without one has 200. Handlers reach what it does not implement, such as deadlines, through
// [http.ResponseController].
type statusWriter struct {
	http.ResponseWriter
	status int // 0: none yet
}

// WriteHeader writes a status. It records the status afterwards, because the writer panics if the status is invalid.
func (sw *statusWriter) WriteHeader(status int) {
	sw.ResponseWriter.WriteHeader(status)
	sw.noteStatus(status)
}

// Write writes a part of the body.
func (sw *statusWriter) Write(p []byte) (int, error) {
	sw.noteStatus(http.StatusOK)
	return sw.ResponseWriter.Write(p)
}

// WriteString implements [io.StringWriter].
func (sw *statusWriter) WriteString(s string) (int, error) {
	sw.noteStatus(http.StatusOK)
	return io.WriteString(sw.ResponseWriter, s)
}

// ReadFrom copies a body, with the help of the operating system if the underlying writer supports that. It copies the
// first bytes itself, so that it records a status only if there are any.
func (sw *statusWriter) ReadFrom(src io.Reader) (n int64, err error) {
	plain := struct{ io.Writer }{sw}
	from, ok := sw.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(plain, src)
	}
	if sw.status == 0 {
		const first = 512 // the bytes from which net/http detects the content type
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

// Flush implements [http.Flusher].
func (sw *statusWriter) Flush() { _ = sw.FlushError() }

// FlushError is called by [http.ResponseController].
func (sw *statusWriter) FlushError() error {
	err := http.NewResponseController(sw.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		sw.noteStatus(http.StatusOK)
	}
	return err
}

// Hijack passes the connection to the handler, which counts as served.
func (sw *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(sw.ResponseWriter).Hijack()
	if err == nil {
		sw.noteStatus(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// Unwrap returns the underlying writer, for [http.ResponseController].
func (sw *statusWriter) Unwrap() http.ResponseWriter { return sw.ResponseWriter }

// noteStatus records the first status that is not informational.
func (sw *statusWriter) noteStatus(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if sw.status == 0 && !informational {
		sw.status = status
	}
}

// outcome returns the error with which the purchase ended, or nil. returned reports whether the handler returned.
func (sw *statusWriter) outcome(returned bool) error {
	switch {
	case sw.status >= 400:
		return fmt.Errorf("answered with status %d", sw.status)
	case sw.status == 0 && !returned:
		return errNotAnswered
	}
	return nil
}
