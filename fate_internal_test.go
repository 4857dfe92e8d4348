package letagentpay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// attempt sends one purchase that takes a second to fail, and returns its call.
func attempt(t *testing.T, status int, contentType string, body io.Reader, err error) *call {
	t.Helper()
	client, newErr := New(WithToken("agt_x"),
		WithHTTPClient(&http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if err != nil {
				return nil, err
			}
			return &http.Response{
				StatusCode:    status,
				Header:        http.Header{"Content-Type": {contentType}},
				Body:          io.NopCloser(body),
				ContentLength: -1,
				Request:       r,
			}, nil
		})}))
	require.NoError(t, newErr)
	c := &call{op: operation.Purchase, body: &api.PurchaseRequest{}}
	_, fetchErr := fetch(t.Context(), client.transport, c, purchaseShape, func(body *api.PurchaseResult) error {
		_, err := newPurchase(body, &PurchaseParams{})
		return err
	})
	require.Error(t, fetchErr)
	return c
}

func TestFateOfAnAttemptThatFailed(t *testing.T) {
	const text, html = "application/json", "text/html"
	cut := io.MultiReader(strings.NewReader(`{"detail":`), brokenReader{})
	for name, c := range map[string]struct {
		status            int
		contentType, body string
		err               error
		want              fate
	}{
		"connection refused": {
			err:  &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
			want: neverArrived,
		},
		"connection broken": {
			err:  &net.OpError{Op: "read", Err: syscall.ECONNRESET},
			want: mayStillRun,
		},
		"cancelled": {err: context.Canceled, want: mayStillRun},
		"refusal of the service": {
			status:      403,
			contentType: text,
			body:        `{"detail":"Agent is paused"}`,
			want:        ended,
		},
		"refused fields": {
			status:      422,
			contentType: text,
			body:        `{"detail":[{"type":"missing","loc":["body"],"msg":"m"}]}`,
			want:        ended,
		},
		"error of the service": {
			status:      500,
			contentType: text,
			body:        `{"detail":"Internal error"}`,
			want:        ended,
		},
		"unavailable, as the service reports": {
			status:      503,
			contentType: text,
			body:        `{"detail":"down for repairs"}`,
			want:        ended,
		},
		"unavailable": {
			status:      503,
			contentType: text,
			body:        `{"message":"no upstream"}`,
			want:        mayStillRun,
		},
		"bad gateway": {
			status:      502,
			contentType: html,
			body:        `<html>`,
			want:        mayStillRun,
		},
		"gateway timeout": {status: 504, body: ``, want: mayStillRun},
		"500 from an unknown server": {
			status:      500,
			contentType: "text/plain",
			body:        `Internal Server Error`,
			want:        mayStillRun,
		},
		"another JSON refusal": {
			status:      403,
			contentType: text,
			body:        `{"message":"Forbidden"}`,
			want:        ended,
		},
		"a gateway's refusal": {
			status:      403,
			contentType: html,
			body:        `<html>`,
			want:        mayStillRun,
		},
		"a refusal cut short": {
			status:      403,
			contentType: text,
			body:        `{"deta`,
			want:        mayStillRun,
		},
		"request timeout": {
			status:      408,
			contentType: text,
			body:        `{"detail":"Request Timeout"}`,
			want:        mayStillRun,
		},
		"client closed": {
			status:      499,
			contentType: text,
			body:        `{"detail":"closed"}`,
			want:        mayStillRun,
		},
		"redirect": {status: 303, want: mayStillRun},
		"answer cut short": {
			status:      201,
			contentType: text,
			body:        `{"request_id":"r1","sta`,
			want:        mayStillRun,
		},
		"answer without its fields": {
			status:      201,
			contentType: text,
			body:        `{"request_id":"r1"}`,
			want:        ended,
		},
		"a detail where a result should be": {
			status:      200,
			contentType: text,
			body:        `{"detail":"x"}`,
			want:        ended,
		},
		"a foreign object": {
			status:      200,
			contentType: text,
			body:        `{"ok":true}`,
			want:        mayStillRun,
		},
		"a captive portal's page": {
			status:      200,
			contentType: html,
			body:        `<html>`,
			want:        mayStillRun,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := attempt(t, c.status, c.contentType, strings.NewReader(c.body), c.err)
				assert.Equal(t, c.want, call.last.fate())
				assert.Equal(t, time.Second, call.lastDuration)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, mayStillRun, attempt(t, 400, text, cut, nil).last.fate(), "a body that breaks off")
	})
	assert.Equal(t, neverArrived, (&APIError{waiting: true}).fate())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client, err := New(WithToken("agt_x"))
	require.NoError(t, err)
	_, err = client.Budget(ctx)
	failure, ok := errors.AsType[*APIError](err)
	require.True(t, ok)
	assert.Equal(t, neverArrived, failure.fate())
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
