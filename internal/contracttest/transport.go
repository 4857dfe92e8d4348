package contracttest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

func decodeJSON(data []byte) (value any, _ error) {
	return value, json.Unmarshal(data, &value)
}

// Transport passes calls on and keeps them with their answers.
type Transport struct {
	Contract *Contract
	Next     http.RoundTripper

	mu        sync.Mutex
	exchanges []*Exchange
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		sent, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	response, err := t.Next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(got))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exchanges = append(t.exchanges, t.Contract.Exchange(r, sent, response.StatusCode, response.Header, got))
	return response, nil
}

// Take returns the exchanges since it was last called.
func (t *Transport) Take() []*Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.exchanges
	t.exchanges = nil
	return taken
}
