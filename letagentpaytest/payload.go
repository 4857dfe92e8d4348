package letagentpaytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"
)

// payload is the body of a call after the check of its syntax, the first check of all.
type payload struct {
	absent bool                       // no body, or null
	fields map[string]json.RawMessage // nil when the body is not an object
}

// parsePayload checks the syntax of a body. An answer that is not nil refuses the call.
func parsePayload(header http.Header, body []byte) (payload, *answer) {
	if len(body) == 0 {
		return payload{absent: true}, nil
	}
	if contentType := header.Get("Content-Type"); contentType != "" && !isJSON(contentType) {
		return payload{}, nil
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if !utf8.Valid(body) {
		return payload{}, errorAnswer(http.StatusBadRequest, "There was an error parsing the body")
	}
	var parsed payload
	target := any(&parsed.fields)
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		target = new(json.RawMessage)
		parsed.absent = string(bytes.TrimSpace(body)) == "null"
	}
	if err := json.Unmarshal(body, target); err != nil {
		position := len(body)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			position = int(syntax.Offset)
		}
		return payload{}, invalid(newProblem([]any{"body", position}, "json_invalid", "JSON decode error", struct{}{},
			map[string]any{"error": err.Error()}))
	}
	return parsed, nil
}

func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	kind, subtype, _ := strings.Cut(strings.ToLower(strings.TrimSpace(mediaType)), "/")
	return kind == "application" && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}
