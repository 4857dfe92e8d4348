package letagentpaytest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

// answer is a response before it is sent. It is never changed, so a replay can send it again.
type answer struct {
	status int
	header http.Header // in addition to the usual ones
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

// delivery is an answer together with the faults of its delivery.
type delivery struct {
	*answer
	date  time.Time
	cut   int           // how many bytes of the body are sent
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
