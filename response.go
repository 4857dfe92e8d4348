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

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxResponseBytes)

// receive reads an answer; what it returns goes to shouldRetry.
func (cl *call) receive(response *http.Response) error {
	defer response.Body.Close()
	if cl.dated {
		cl.date, _ = http.ParseTime(response.Header.Get("Date"))
	}
	cl.status = response.StatusCode
	data, err := readAll(response)
	cl.lasted = time.Since(cl.started)
	failure := &APIError{StatusCode: response.StatusCode, retryAfter: retryAfter(response.Header, time.Now())}
	switch {
	case response.StatusCode/100 != 2:
		failure.answered = err == nil && isJSON(response.Header) && isObject(data)
		cl.readRefusal(failure, response, data)
		return failure
	case err != nil:
		failure.Err = cl.transport.redactError(err)
	case !isJSON(response.Header):
		contentType := cl.transport.cleaned(response.Header.Get("Content-Type"), shortText)
		failure.Err = fmt.Errorf("want application/json, got content type %q", contentType)
		failure.Detail = cl.transport.sample(data)
	default:
		err := cl.decode(data)
		if err == nil {
			cl.transport.log(cl.request.Context(), slog.LevelDebug, "letagentpay.attempt", cl, response.StatusCode, nil)
			return nil
		}
		failure.Err, failure.Detail = cl.transport.redactError(err), cl.transport.sample(data)
		failure.answered = isServiceAnswer(data)
	}
	failure.malformed = true
	return failure
}

// readRefusal fills in what an answer other than 2xx says.
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
		failure.Detail, failure.explained = cl.transport.cleaned(failure.Detail, longText), failure.Detail != "" && !isProblem(response.Header)
		return
	case json.Unmarshal(body.Detail, &items) == nil:
		cl.readFields(failure, items)
		failure.explained = len(items) > 0
		return
	}
	failure.Detail = cl.transport.sample(data)
}

// refusedField is one entry of a 422.
type refusedField struct {
	Type string            `json:"type"`
	Loc  []json.RawMessage `json:"loc"`
	Msg  string            `json:"msg"`
}

func (cl *call) readFields(failure *APIError, items []refusedField) {
	if len(items) > maxFields {
		failure.Detail = fmt.Sprintf("%d fields, the first %d of them", len(items), maxFields)
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

// fieldPath joins a validation error's location, less the leading "body", with points.
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

// sample returns the beginning of data, whose white space is of no importance, on one line.
func (t *transport) sample(data []byte) string {
	text := string(data[:min(len(data), 2*utf8.UTFMax*sampleText)])
	text = t.cleaned(strings.Join(strings.Fields(text), " "), sampleText)
	if len(data) > 2*utf8.UTFMax*sampleText && !strings.HasSuffix(text, "…") {
		text += "…"
	}
	return text
}

// readAll reads a body up to the limit, in as many bytes as it says it has and one more to see its end.
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

// isProblem reports whether an answer is a gateway's problem details (RFC 9457), which the service does not write.
func isProblem(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "application/problem+json"
}

// isJSON accepts a missing content type: the body then speaks for itself.
func isJSON(header http.Header) bool {
	contentType := header.Get("Content-Type")
	if contentType == "" || contentType == "application/json" {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// isObject reports whether data is a JSON object, and whole.
func isObject(data []byte) bool {
	var body map[string]json.RawMessage
	return json.Unmarshal(data, &body) == nil && body != nil
}

// speaksForService reports whether data, which is not what the call asked for, is the service's own word all the same:
// it names a request or says what is wrong. Any other object may come from whatever stands between.
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

// retryAfter reads the Retry-After header, in seconds or as a date; 0 when there is none that makes sense.
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
