package letagentpaytest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

// answer is a response before it is sent. It is not changed once made, so that a replay can repeat it.
type answer struct {
	status int
	header http.Header // beyond the usual ones
	body   []byte
}

func jsonAnswer(status int, value any) *answer {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("letagentpaytest: encoding an answer: " + err.Error())
	}
	return &answer{status: status, body: bytes.TrimSuffix(body.Bytes(), []byte("\n"))}
}

func errorAnswer(status int, detail string) *answer {
	return jsonAnswer(status, api.Error{Detail: detail})
}

// delivery is an answer on its way to the client, and what befalls it there.
type delivery struct {
	*answer
	date  time.Time
	cut   int           // the body ends after so many bytes; its length when nothing is cut
	pause time.Duration // before each byte
}

func (d delivery) head() http.Header {
	header := http.Header{
		"Content-Type":   {"application/json"},
		"Date":           {d.date.Format(http.TimeFormat)},
		"Content-Length": {strconv.Itoa(len(d.body))},
	}
	for name, values := range d.answer.header {
		header[name] = values
	}
	return header
}
