package letagentpay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var errTooLarge = fmt.Errorf("the response is larger than %d bytes", maxResponseBytes)

// receive reads a response. retryablehttp passes the error to shouldRetry.
func (cl *call) receive(response *http.Response) error {
	defer response.Body.Close()
	if cl.dated {
		cl.date, _ = http.ParseTime(response.Header.Get("Date"))
	}
	cl.status = response.StatusCode
	data, err := readAll(response)
	cl.lastDuration = time.Since(cl.started)
	var decodeErr error
	if err == nil && response.StatusCode/100 == 2 && isJSON(response.Header) {
		if decodeErr = cl.decode(data); decodeErr == nil {
			cl.transport.log(cl.request.Context(), slog.LevelDebug, "letagentpay.attempt", cl, response.StatusCode, nil)
			return nil
		}
	}
	failure := &APIError{StatusCode: response.StatusCode, retryAfter: retryAfter(response.Header, time.Now())}
	switch {
	case response.StatusCode/100 != 2:
		failure.answered = err == nil && isJSON(response.Header) && isObject(data)
		cl.readRefusal(failure, response, data)
		return failure
	case err != nil:
		failure.Err = cl.transport.redactError(err)
	case decodeErr != nil:
		failure.Err, failure.Detail = cl.transport.redactError(decodeErr), cl.transport.sample(data)
		failure.answered = isServiceAnswer(data)
	default:
		contentType := cl.transport.cleaned(response.Header.Get("Content-Type"), shortText)
		failure.Err = fmt.Errorf("want application/json, got content type %q", contentType)
		failure.Detail = cl.transport.sample(data)
	}
	failure.malformed = true
	return failure
}

// readRefusal copies the explanation of a response other than 2xx into failure.
func (cl *call) readRefusal(failure *APIError, response *http.Response, data []byte) {
	if response.StatusCode/100 == 3 {
		failure.Detail = "redirect refused"
		if location, err := response.Location(); err == nil {
			failure.Detail = "redirect to " + cl.transport.cleaned(location.Host, idText) + " refused"
		}
		return
	}
	var body struct {
		Detail json.RawMessage `json:"detail"`
	}
	var items []refusedField
	switch {
	case decodeAs(data, &body, refusalShape) != nil:
	case json.Unmarshal(body.Detail, &failure.Detail) == nil:
		failure.explained = failure.Detail != "" && !isProblem(response.Header)
		failure.Detail = cl.transport.cleaned(failure.Detail, longText)
		return
	case json.Unmarshal(body.Detail, &items) == nil:
		cl.readFields(failure, items)
		failure.explained = len(items) > 0
		return
	}
	failure.Detail = cl.transport.sample(data)
}

// refusedField is one entry of a 422 response.
type refusedField struct {
	Type string            `json:"type"`
	Loc  []json.RawMessage `json:"loc"`
	Msg  string            `json:"msg"`
}

func (cl *call) readFields(failure *APIError, items []refusedField) {
	if len(items) > maxFields {
		failure.Detail = fmt.Sprintf("%d fields, the first %d are listed", len(items), maxFields)
		items = items[:maxFields]
	}
	for _, item := range items {
		failure.Fields = append(failure.Fields, FieldError{
			Field:   cl.transport.cleaned(fieldPath(item.Loc), shortText),
			Type:    cl.transport.cleaned(item.Type, shortText),
			Message: cl.transport.cleaned(item.Msg, sampleText),
		})
	}
}

// fieldPath joins the location of a validation error with dots, without the leading "body".
func fieldPath(loc []json.RawMessage) string {
	var parts []string
	for i, raw := range loc {
		part := string(raw)
		var text string
		if json.Unmarshal(raw, &text) == nil {
			part = text
		}
		if i > 0 || part != "body" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

// sample returns the start of data on one line, with runs of white space reduced to a space.
func (t *transport) sample(data []byte) string {
	text := string(data[:min(len(data), 2*utf8.UTFMax*sampleText)])
	text = t.cleaned(strings.Join(strings.Fields(text), " "), sampleText)
	if len(data) > 2*utf8.UTFMax*sampleText && !strings.HasSuffix(text, "…") {
		text += "…"
	}
	return text
}

// readAll reads a body up to the limit. It allocates the announced length and one byte more, to see the end.
func readAll(response *http.Response) ([]byte, error) {
	size := int64(512)
	if response.ContentLength > 0 {
		size = min(response.ContentLength, maxResponseBytes)
	}
	data := make([]byte, 0, size+1)
	for {
		n, err := response.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case len(data) > maxResponseBytes:
			return data[:maxResponseBytes], errTooLarge
		case err == io.EOF:
			return data, nil
		case err != nil:
			return data, err
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data)+1)
		}
	}
}

// isProblem reports whether a response has problem details (RFC 9457). Gateways send those; the service does not.
func isProblem(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "application/problem+json"
}

// isJSON reports whether a response claims to be JSON. Without a content type it counts as JSON; decoding decides.
func isJSON(header http.Header) bool {
	contentType := header.Get("Content-Type")
	if contentType == "" || contentType == "application/json" {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// isObject reports whether data is a complete JSON object.
func isObject(data []byte) bool {
	var body map[string]json.RawMessage
	return json.Unmarshal(data, &body) == nil && body != nil
}

// isServiceAnswer reports whether data, which is not the expected body, still comes from the service: it has a request
// id or an error detail. Any other object may come from an intermediary.
func isServiceAnswer(data []byte) bool {
	var body struct {
		RequestID *string         `json:"request_id"`
		Detail    json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(data, &body) != nil {
		return false
	}
	return body.RequestID != nil && *body.RequestID != "" || len(body.Detail) > 0 && string(body.Detail) != "null"
}

// retryAfter returns the pause that the Retry-After header asks for, in seconds or as a date, up to a cap. It returns 0
// if the header is missing or malformed.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(seconds, 0), int64(retryAfterCap/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), retryAfterCap)
	}
	return 0
}
