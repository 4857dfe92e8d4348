package letagentpay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// priceHeader prices a request by its Price header.
func priceHeader(r *http.Request) (*letagentpay.PurchaseParams, error) {
	switch amount := r.Header.Get("Price"); amount {
	case "":
		return nil, nil
	case "unknown":
		return nil, errShop
	default:
		p := price(amount)
		return &p, nil
	}
}

// closing is a body that records whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestGuardTransport(t *testing.T) {
	var next atomic.Int64
	respond := func(status int, err error) roundTrip {
		return func(r *http.Request) (*http.Response, error) {
			next.Add(1)
			_, err2 := io.Copy(io.Discard, r.Body)
			if err = errors.Join(err, err2, r.Body.Close()); err != nil {
				return nil, err
			}
			if approval, ok := letagentpay.ApprovalFromContext(r.Context()); ok {
				r.Header.Clone() // what a Next may do
				_ = approval
			}
			return &http.Response{
				StatusCode: status,
				Status:     http.StatusText(status),
				Body:       io.NopCloser(strings.NewReader("body")),
				Request:    r,
			}, nil
		}
	}
	charged := func(amount string, yes bool) func(*http.Response, error) (letagentpay.Amount, bool) {
		return func(*http.Response, error) (letagentpay.Amount, bool) { return letagentpay.MustAmount(amount), yes }
	}
	for name, c := range map[string]struct {
		price   string
		next    roundTrip
		charged func(*http.Response, error) (letagentpay.Amount, bool)
		sent    bool
		err     error
		spent   string
	}{
		"free":                      {"", respond(200, nil), nil, true, nil, "0.00"},
		"paid":                      {"30", respond(200, nil), nil, true, nil, "30.00"},
		"refused by the far end":    {"30", respond(402, nil), nil, true, nil, "0.00"},
		"lost answer":               {"30", respond(200, errReset), nil, true, errReset, "30.00"},
		"never connected":           {"30", respond(200, errRefused), nil, true, errRefused, "0.00"},
		"charged less":              {"30", respond(200, nil), charged("12", true), true, nil, "12.00"},
		"charged more":              {"30", respond(200, nil), charged("42", true), true, nil, "42.00"},
		"charged despite a 404":     {"30", respond(404, nil), charged("0", true), true, nil, "30.00"},
		"not charged, by a 500":     {"30", respond(500, nil), charged("0", false), true, nil, "0.00"},
		"not charged, a lost reply": {"30", respond(200, errReset), charged("0", false), true, errReset, "0.00"},
		"not charged despite a 200": {"30", respond(200, nil), charged("0", false), true, nil, "0.00"},
		"not approved":              {"300", respond(200, nil), nil, false, letagentpay.ErrNotApproved, "0.00"},
		"unknown price":             {"unknown", respond(200, nil), nil, false, errShop, "0.00"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			next.Store(0)
			client := server.Client(letagentpay.WithLogger(slog.New(slog.DiscardHandler)))
			transport := &letagentpay.GuardTransport{
				Client:  client,
				Price:   priceHeader,
				Next:    c.next,
				Charged: c.charged,
			}
			body := &closing{Reader: strings.NewReader("request body")}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example/v1", body)
			require.NoError(t, err)
			request.Header.Set("Price", c.price)
			response, err := transport.RoundTrip(request)
			require.ErrorIs(t, err, c.err)
			assert.True(t, body.closed, "the body is closed in every case")
			assert.Equal(t, c.sent, next.Load() == 1)
			if c.err == nil {
				data, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				assert.Equal(t, "body", string(data))
				assert.Same(t, request, response.Request)
			}
			books(t, server, c.spent, "0.00")
		})
	}
}

func TestGuardTransportStreamsOverSockets(t *testing.T) {
	paid := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream := http.NewResponseController(w)
		assert.NoError(t, stream.EnableFullDuplex())
		assert.NoError(t, stream.Flush())
		chunk := make([]byte, 16)
		for { // echoes each chunk at once
			n, err := r.Body.Read(chunk)
			_, _ = w.Write(chunk[:n])
			if _ = stream.Flush(); err != nil {
				return
			}
		}
	}))
	defer paid.Close()
	server := serve(t)
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := &http.Client{
		Transport: &letagentpay.GuardTransport{Client: server.Client(), Price: priceHeader, Next: base},
	}
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, paid.URL, reader)
	require.NoError(t, err)
	request.Header.Set("Price", "5")
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	books(t, server, "5.00", "0.00")
	assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status, "confirmed before the body")
	for _, word := range []string{"one", "two"} {
		_, err := io.WriteString(writer, word)
		require.NoError(t, err)
		echo := make([]byte, len(word))
		_, err = io.ReadFull(response.Body, echo)
		require.NoError(t, err)
		assert.Equal(t, word, string(echo))
	}
	require.NoError(t, writer.Close())
}

func TestGuardTransportTellsWhatIsUnconfirmed(t *testing.T) {
	server := serve(t)
	var logged bytes.Buffer
	client := server.Client(letagentpay.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	next := roundTrip(func(r *http.Request) (*http.Response, error) {
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example/v1", nil)
	require.NoError(t, err)
	request.Header.Set("Price", "5")
	var reported error
	transport := &letagentpay.GuardTransport{
		Client:      client,
		Price:       priceHeader,
		Next:        next,
		Unconfirmed: func(_ *http.Request, err error) { reported = err },
	}
	_, err = transport.RoundTrip(request)
	require.NoError(t, err, "the response is paid for and returned")
	var confirm *letagentpay.UnconfirmedError
	require.ErrorAs(t, reported, &confirm)

	transport.Unconfirmed = nil
	_, err = transport.RoundTrip(request)
	require.NoError(t, err)
	assert.Contains(t, logged.String(), "msg=letagentpay.unconfirmed request_id="+server.Requests()[1].RequestID)

	transport.Next = roundTrip(func(*http.Request) (*http.Response, error) { panic("out of cheese") })
	assert.PanicsWithValue(t, "out of cheese", func() { _, _ = transport.RoundTrip(request) })
	assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[2].Status, "the request may have been sent")

	for field, broken := range map[string]*letagentpay.GuardTransport{
		"GuardTransport.Client": {Price: priceHeader},
		"GuardTransport.Price":  {Client: client},
	} {
		_, err = broken.RoundTrip(request)
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param)
		assert.Equal(t, field, param.Field)
	}
}

func TestGuardHandler(t *testing.T) {
	writes := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }
	fails := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sorry", http.StatusBadGateway) }
	hints := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(500) }
	never := func(http.ResponseWriter, *http.Request) { t.Error("served") }
	for name, c := range map[string]struct {
		price  string
		serve  http.HandlerFunc
		status int
		body   string
		spent  string
	}{
		"free":            {"", writes, 200, "served", "0.00"},
		"paid":            {"30", writes, 200, "served", "30.00"},
		"nothing written": {"30", func(http.ResponseWriter, *http.Request) {}, 200, "", "30.00"},
		"failed":          {"30", fails, 502, "sorry\n", "0.00"},
		"early hints":     {"30", hints, 103, "", "0.00"},
		"spent, failed": {"30", func(w http.ResponseWriter, r *http.Request) {
			approval, _ := letagentpay.ApprovalFromContext(r.Context())
			assert.NoError(t, approval.Spent(letagentpay.MustAmount("20"), ""))
			w.WriteHeader(500)
		}, 500, "", "20.00"},
		"flushed": {"30", func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			assert.NoError(t, http.NewResponseController(w).Flush())
		}, 200, "", "30.00"},
		"not approved": {"300", never, 402, "rejected", "0.00"},
		"not priced":   {"unknown", never, 503, "could not be requested", "0.00"},
		"pending":      {"80", never, 402, "pending", "0.00"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			handler := &letagentpay.GuardHandler{
				Client:  server.Client(),
				Price:   priceHeader,
				Next:    c.serve,
				Options: []letagentpay.GuardOption{letagentpay.OnPendingFail()},
			}
			request := httptest.NewRequest(http.MethodPost, "/buy", nil)
			request.Header.Set("Price", c.price)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			assert.Equal(t, c.status, recorder.Code)
			assert.Contains(t, recorder.Body.String(), c.body)
			assert.Equal(t, c.spent, server.Budget().Spent.String())
			if recorder.Code == 402 {
				var body map[string]string
				require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &body))
				assert.Equal(t, server.Requests()[0].RequestID, body["request_id"])
			}
		})
	}
}

func TestGuardHandlerAtItsEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		call := func(h *letagentpay.GuardHandler, amount, key string) *httptest.ResponseRecorder {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/buy", nil)
			request.Header.Set("Price", amount)
			recorder := httptest.NewRecorder()
			if key != "" {
				h.Price = func(r *http.Request) (*letagentpay.PurchaseParams, error) {
					p, err := priceHeader(r)
					p.IdempotencyKey = key
					return p, err
				}
			}
			h.ServeHTTP(recorder, request)
			return recorder
		}
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

		panicking := &letagentpay.GuardHandler{
			Client: client,
			Price:  priceHeader,
			Next:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		}
		assert.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { call(panicking, "5", "") })
		books(t, server, "0.00", "0.00")

		for _, status := range []int{200, 409} {
			keyed := &letagentpay.GuardHandler{Client: client, Price: priceHeader, Next: ok}
			assert.Equal(t, status, call(keyed, "5", "key").Code)
		}

		assert.Equal(t, 503, call(&letagentpay.GuardHandler{Price: priceHeader, Next: ok}, "5", "").Code)
		assert.Equal(t, 503, call(&letagentpay.GuardHandler{Client: client, Next: ok}, "5", "").Code)
		assert.Equal(t, 503, call(&letagentpay.GuardHandler{Client: client, Price: priceHeader}, "5", "").Code)

		var refused, unconfirmed error
		own := &letagentpay.GuardHandler{
			Client:      client,
			Price:       priceHeader,
			Next:        ok,
			Refuse:      func(w http.ResponseWriter, _ *http.Request, err error) { refused = err; w.WriteHeader(418) },
			Unconfirmed: func(_ *http.Request, err error) { unconfirmed = err },
		}
		assert.Equal(t, 418, call(own, "300", "").Code)
		require.ErrorIs(t, refused, letagentpay.ErrNotApproved)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		assert.Equal(t, 200, call(own, "5", "").Code)
		var confirm *letagentpay.UnconfirmedError
		require.ErrorAs(t, unconfirmed, &confirm)

		pending := &letagentpay.GuardHandler{Client: client, Price: priceHeader, Next: ok}
		assert.Equal(t, 402, call(pending, "80", "").Code, "not decided within five minutes")
		expired := &letagentpay.GuardHandler{
			Client:  client,
			Price:   priceHeader,
			Next:    ok,
			Options: []letagentpay.GuardOption{letagentpay.OnPendingWait(1 << 42)},
		}
		assert.Contains(t, call(expired, "80", "").Body.String(), "expired")
	})
}

func ExampleGuardTransport() {
	server := embedded()
	defer server.Close()
	paidAPI := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "sunny")
	}))
	defer paidAPI.Close()

	client := &http.Client{Transport: &letagentpay.GuardTransport{
		Client: server.Client(),
		Price: func(r *http.Request) (*letagentpay.PurchaseParams, error) {
			return &letagentpay.PurchaseParams{
				Amount:      letagentpay.MustAmount("0.05"),
				Category:    "subscriptions",
				Description: r.URL.Path,
			}, nil
		},
	}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, paidAPI.URL+"/weather", nil)
	if err != nil {
		panic(err)
	}
	response, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Println(string(body), server.Budget().Spent)
	// Output: sunny 0.05
}

func ExampleGuardHandler() {
	server := embedded()
	defer server.Close()

	handler := &letagentpay.GuardHandler{
		Client: server.Client(),
		Price: func(*http.Request) (*letagentpay.PurchaseParams, error) {
			return &letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("250"), Category: "flights"}, nil
		},
		Next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "booked") }),
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/book", nil))
	fmt.Println(recorder.Code, http.StatusText(recorder.Code))
	// Output: 402 Payment Required
}
