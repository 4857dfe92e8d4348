package letagentpay_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

const someBudget = `{"budget":"500.00","spent":"10.00","held":"0.00","remaining":"490.00","currency":"USD"}`

var (
	errReset   = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
)

func TestReadsAreRepeatedWithBackoff(t *testing.T) {
	for name, trouble := range map[string]httpmock.Responder{
		"server error":      answer(500, `{"detail":"boom"}`),
		"bad gateway":       answer(502, `<html>bad gateway</html>`, "Content-Type", "text/html"),
		"rate limit":        answer(429, `{"detail":"Too many requests. Please try again later."}`),
		"connection reset":  broken(errReset),
		"connection refuse": broken(errRefused),
		"truncated answer":  answer(200, someBudget[:40]),
		"empty answer":      answer(200, ""),
		"no JSON":           answer(200, "<html>portal</html>", "Content-Type", "text/html"),
		"null":              answer(200, "null"),
		"field missing":     answer(200, "{}"),
		"request timeout":   answer(408, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/budget", trouble, trouble, answer(200, someBudget))
				budget, err := s.client().Budget(t.Context())
				require.NoError(t, err)
				assert.Equal(t, letagentpay.MustAmount("490"), budget.Remaining)
				calls := s.recorded()
				require.Len(t, calls, 3)
				first, second := calls[1].At.Sub(calls[0].At), calls[2].At.Sub(calls[1].At)
				assert.GreaterOrEqual(t, first, 250*time.Millisecond)
				assert.GreaterOrEqual(t, second, 500*time.Millisecond)
				assert.LessOrEqual(t, second, 4*time.Second)
			})
		})
	}
}

func TestRetriesEnd(t *testing.T) {
	for name, c := range map[string]struct {
		trouble  httpmock.Responder
		attempts int
		is       error
	}{
		"server error":    {answer(503, `{"detail":"down"}`), 3, letagentpay.ErrServer},
		"not implemented": {answer(501, `{"detail":"no"}`), 1, letagentpay.ErrServer},
		"rate limit": {
			answer(429, `{"detail":"Too many requests. Please try again later."}`), 3, letagentpay.ErrRateLimited,
		},
		"too many pending": {
			answer(429, `{"detail":"Too many pending requests. Wait for existing requests to be resolved."}`), 1,
			letagentpay.ErrTooManyPending,
		},
		"unauthorized":  {answer(401, `{"detail":"Invalid agent token"}`), 1, letagentpay.ErrUnauthorized},
		"forbidden":     {answer(403, `{"detail":"Agent is paused"}`), 1, letagentpay.ErrForbidden},
		"not found":     {answer(404, `{"detail":"Not Found"}`), 1, letagentpay.ErrNotFound},
		"conflict":      {answer(409, `{"detail":"x"}`), 1, letagentpay.ErrConflict},
		"bad request":   {answer(400, `{"detail":"Currency mismatch: expected EUR"}`), 1, letagentpay.ErrInvalid},
		"teapot":        {answer(418, `{"detail":"x"}`), 1, nil},
		"no connection": {broken(errReset), 3, letagentpay.ErrNoResponse},
		"malformed":     {answer(200, `{"budget":`), 3, letagentpay.ErrMalformedResponse},
		"decimal of nothing": {
			answer(200, `{"budget":"1e3","spent":"0","held":"0","remaining":"0","currency":"USD"}`), 3,
			letagentpay.ErrMalformedResponse,
		},
		"untrusted server": {broken(x509Error()), 1, letagentpay.ErrNoResponse},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/budget", c.trouble)
				budget, err := s.client(letagentpay.WithMaxRetries(2)).Budget(t.Context())
				assert.Nil(t, budget)
				var failure *letagentpay.APIError
				require.ErrorAs(t, err, &failure)
				assert.Len(t, s.recorded(), c.attempts)
				assert.Equal(t, c.attempts, failure.Attempts)
				assert.Equal(t, operation.Budget, failure.Op)
				assert.Equal(t, "GET", failure.Method)
				assert.Equal(t, "/api/v1/agent-api/budget", failure.Path)
				for _, category := range []error{
					letagentpay.ErrServer, letagentpay.ErrRateLimited, letagentpay.ErrTooManyPending,
					letagentpay.ErrUnauthorized, letagentpay.ErrForbidden, letagentpay.ErrNotFound,
					letagentpay.ErrConflict, letagentpay.ErrInvalid, letagentpay.ErrNoResponse,
					letagentpay.ErrMalformedResponse,
				} {
					assert.Equal(t, category == c.is, errors.Is(err, category), "%v is %v", err, category)
				}
			})
		})
	}
}

func x509Error() error {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	_, err := (&http.Client{Transport: transport}).Get(server.URL)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		panic(err)
	}
	return err
}

func TestRetryAfterIsHonouredUpToACap(t *testing.T) {
	for name, c := range map[string]struct {
		header            string
		shortest, longest time.Duration
	}{
		"seconds":      {"7", 7 * time.Second, 7 * time.Second},
		"a day":        {"86400", time.Minute, time.Minute},
		"beyond int64": {"99999999999999999999", time.Minute, time.Minute},
		"negative":     {"-5", 250 * time.Millisecond, time.Second},
		"nonsense":     {"soon", 250 * time.Millisecond, time.Second},
		// A bubble's clock begins at midnight.
		"date":          {"Sat, 01 Jan 2000 00:00:20 GMT", 19 * time.Second, 20 * time.Second},
		"date long ago": {"Fri, 31 Dec 1999 23:00:00 GMT", 250 * time.Millisecond, time.Second},
		"date far away": {"Sat, 01 Jan 2100 00:00:00 GMT", time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/budget", answer(503, `{"detail":"x"}`, "Retry-After", c.header),
					answer(200, someBudget))
				_, err := s.client().Budget(t.Context())
				require.NoError(t, err)
				waited := s.recorded()[1].At.Sub(s.recorded()[0].At)
				assert.GreaterOrEqual(t, waited, c.shortest)
				assert.LessOrEqual(t, waited, c.longest)
			})
		})
	}
}

func TestWaitsGrowUpToABound(t *testing.T) {
	for name, c := range map[string]struct {
		trouble httpmock.Responder
		bound   time.Duration
	}{
		"server error": {answer(503, `{"detail":"down"}`), 8 * time.Second},
		"rate limit":   {answer(429, `{"detail":"Too many requests. Please try again later."}`), 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/budget", c.trouble)
				_, err := s.client(letagentpay.WithMaxRetries(30)).Budget(t.Context())
				require.Error(t, err)
				calls := s.recorded()
				require.Len(t, calls, 31)
				for i := 1; i < len(calls); i++ {
					wait := calls[i].At.Sub(calls[i-1].At)
					assert.LessOrEqual(t, wait, c.bound, "wait %d", i)
					if i > 5 {
						assert.GreaterOrEqual(t, wait, c.bound/2, "wait %d", i)
					}
				}
			})
		})
	}
}

func TestContextBoundsEverything(t *testing.T) {
	t.Run("cancelled before", func(t *testing.T) {
		s := newService(t).on("GET", "/budget", answer(200, someBudget))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.client().Budget(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, letagentpay.ErrNoResponse)
		assert.Empty(t, s.recorded())
	})
	t.Run("cancelled during a call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begun := time.Now()
			_, err := newService(t).on("GET", "/budget", hangs).client().Budget(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 3*time.Second, time.Since(begun))
		})
	})
	t.Run("cancelled between attempts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			begun := time.Now()
			s := newService(t).on("GET", "/budget", answer(503, `{"detail":"down for repairs"}`))
			_, err := s.client().Budget(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, letagentpay.ErrServer)
			assert.Contains(t, err.Error(), "down for repairs", "the last answer is not lost")
			assert.Equal(t, 100*time.Millisecond, time.Since(begun))
		})
	})
	t.Run("no time for another attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			begun := time.Now()
			s := newService(t).on("GET", "/budget", answer(503, `{"detail":"x"}`, "Retry-After", "30"))
			_, err := s.client().Budget(ctx)
			require.ErrorIs(t, err, letagentpay.ErrServer)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Zero(t, time.Since(begun), "it does not wait if no time is left for another attempt")
		})
	})
	t.Run("nil", func(t *testing.T) {
		client := newService(t).client()
		var none context.Context
		for name, call := range map[string]func() error{
			"Budget":          func() error { _, err := client.Budget(none); return err },
			"Purchase":        func() error { _, err := client.Purchase(none, groceries()); return err },
			"Confirm":         func() error { _, err := client.Confirm(none, "r1", completed()); return err },
			"WaitForDecision": func() error { _, err := client.WaitForDecision(none, "r1"); return err },
			"Authorize":       func() error { _, err := client.Authorize(none, groceries()); return err },
		} {
			var param *letagentpay.ParamError
			require.ErrorAs(t, call(), &param, name)
			assert.Equal(t, "ctx", param.Field)
		}
	})
}

func TestAttemptTimeoutIsNotTheContextsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("GET", "/budget", hangs, answer(200, someBudget))
		client, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL(s.base),
			letagentpay.WithHTTPClient(&http.Client{Transport: s.mock, Timeout: 20 * time.Second}))
		require.NoError(t, err)
		begun := time.Now()
		_, err = client.Budget(t.Context())
		require.NoError(t, err, "a slow attempt is repeated")
		assert.InDelta(t, 20, time.Since(begun).Seconds(), 1.01)
	})
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := newService(t).on("GET", "/budget", hangs).client(letagentpay.WithMaxRetries(0)).Budget(t.Context())
		require.ErrorContains(t, err, "no answer within 1m0s")
		assert.Equal(t, time.Minute, time.Since(begun))
	})
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("GET", "/budget", hangs)
		client := s.client(letagentpay.WithMaxRetries(0),
			letagentpay.WithHTTPClient(&http.Client{Transport: s.mock, Timeout: 20 * time.Second}))
		_, err := client.Budget(t.Context())
		require.ErrorContains(t, err, "no answer within 20s", "the HTTP client's own timeout limits the attempt")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, exchange(func(r *http.Request) (*http.Response, error) {
			body := io.MultiReader(strings.NewReader(`{"budget":`), stallingReader{r.Context()})
			return &http.Response{
				StatusCode:    200,
				Header:        http.Header{"Content-Type": {"application/json"}},
				Request:       r,
				ContentLength: -1,
				Body:          io.NopCloser(body),
			}, nil
		}), letagentpay.WithMaxRetries(0))
		begun := time.Now()
		_, err := client.Budget(t.Context())
		require.ErrorContains(t, err, "no answer within 1m0s", "a body that stalls is slow like any other answer")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(begun))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client.Budget(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "the caller's own deadline")
	})
}

// stallingReader blocks until its context ends.
type stallingReader struct{ ctx context.Context }

func (s stallingReader) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestHugeAnswersAreNotRead(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "policy") {
			w.WriteHeader(http.StatusForbidden)
		}
		chunk := bytes.Repeat([]byte(" "), 1<<16)
		for range 160 { // 10 MiB
			n, err := w.Write(chunk)
			served.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	defer server.Close()
	client := realClient(t, server.URL)
	_, err := client.Budget(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
	require.ErrorContains(t, err, "larger than 1048576 bytes")
	var failure *letagentpay.APIError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 200, failure.StatusCode)
	assert.Equal(t, 1, failure.Attempts)

	_, err = client.Policy(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrForbidden, "a refusal keeps its status however long its body")
}

func TestAnswersAreReadUpToTheLimit(t *testing.T) {
	const limit = 1 << 20
	for _, lengthGiven := range []bool{false, true} {
		for size, read := range map[int]bool{limit - 1: true, limit: true, limit + 1: false} {
			t.Run(fmt.Sprint(size, ", length given ", lengthGiven), func(t *testing.T) {
				body := someBudget + strings.Repeat(" ", size-len(someBudget))
				client := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					response, err := answer(200, body)(r)
					if response.ContentLength = -1; lengthGiven {
						response.ContentLength = int64(size)
					}
					return response, err
				}), letagentpay.WithMaxRetries(0))
				_, err := client.Budget(t.Context())
				if read {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, "larger than 1048576 bytes")
				}
			})
		}
	}
}

func TestAnswersAreTakenForJSONByTheirMediaType(t *testing.T) {
	for contentType, taken := range map[string]bool{
		"":                                        true,
		"application/json":                        true,
		"application/json; charset=utf-8":         true,
		"application/json;charset=\"UTF-8\"":      true,
		"Application/JSON":                        true,
		"application/vnd.pay+json":                true,
		"application/vnd.pay+json; version=1":     true,
		"text/html":                               false,
		"text/html; charset=utf-8":                false,
		"text/plain; of=application/json":         false,
		"application/jsonl":                       false,
		"application/json; charset=utf-8; broken": false,
	} {
		t.Run(contentType, func(t *testing.T) {
			client := newClient(t, roundTrip(answer(200, someBudget, "Content-Type", contentType)),
				letagentpay.WithMaxRetries(0))
			_, err := client.Budget(t.Context())
			if taken {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "want application/json")
			}
		})
	}
}

func realClient(t *testing.T, url string, opts ...letagentpay.Option) *letagentpay.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return newClient(t, transport, append([]letagentpay.Option{
		letagentpay.WithBaseURL(url + "/api/v1/agent-api"),
	}, opts...)...)
}

func TestErrorsOfProxiesKeepStatusAndSample(t *testing.T) {
	s := newService(t).on("GET", "/budget",
		answer(404, "<html>\n\t<title>Not here</title>\x00\x1b[31m "+strings.Repeat("long ", 100)+"</html>",
			"Content-Type", "text/html"))
	_, err := s.client().Budget(t.Context())
	var failure *letagentpay.APIError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 404, failure.StatusCode)
	assert.Contains(t, failure.Detail, "<title>Not here</title>")
	assert.NotContains(t, failure.Detail, "\x1b")
	assert.LessOrEqual(t, len([]rune(failure.Detail)), 201)

	for _, body := range []string{
		"", "null", "[]", `{"detail":null}`, `{"detail":7}`, `{"detail":[1]}`, `{"detail":{"a":1}}`,
		`{"detail":[{"loc":[null,{}],"msg":"m"}]}`, "\xff\xfe",
	} {
		_, err := newService(t).on("GET", "/budget", answer(400, body)).client().Budget(t.Context())
		require.ErrorIs(t, err, letagentpay.ErrInvalid, body)
	}
}

func TestFieldErrorsSayWhere(t *testing.T) {
	s := newService(t).on("POST", "/requests", answer(422, `{"detail":[
		{"type":"greater_than","loc":["body","amount"],"msg":"Input should be greater than 0","input":0},
		{"type":"string_type","loc":["body","payment_requirements","list",0],"msg":""},
		{"type":"missing","loc":["body"],"msg":"Field required"}]}`))
	_, err := s.client().Purchase(t.Context(), groceries())
	var failure *letagentpay.APIError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, []letagentpay.FieldError{
		{Field: "amount", Type: "greater_than", Message: "Input should be greater than 0"},
		{Field: "payment_requirements.list.0", Type: "string_type"},
		{Type: "missing", Message: "Field required"},
	}, failure.Fields)
	assert.Equal(t, "letagentpay: purchase: 422 Unprocessable Entity: amount: Input should be greater than 0; "+
		"payment_requirements.list.0: string_type; Field required", err.Error())
}

func TestRedirects(t *testing.T) {
	var other atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { other.Add(1) }))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/agent-api/budget", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/steal?x=1", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("POST /api/v1/agent-api/requests", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /api/v1/agent-api/categories", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved", http.StatusFound)
	})
	mux.HandleFunc("GET /api/v1/agent-api/policy", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"categories":["`+r.Header.Get("Authorization")+`"]}`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	client := realClient(t, server.URL, letagentpay.WithMaxRetries(0))

	var failure *letagentpay.APIError
	_, err := client.Budget(t.Context())
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 307, failure.StatusCode)
	assert.Equal(t, "redirect to "+strings.TrimPrefix(elsewhere.URL, "http://")+" refused", failure.Detail)
	assert.Zero(t, other.Load(), "the other host is not called")

	_, err = client.Purchase(t.Context(), groceries())
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 303, failure.StatusCode, "a purchase must not turn into a read")

	categories, err := client.Categories(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"Bearer " + testToken}, categories, "a read may move within its host")

	_, err = client.Policy(t.Context())
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 302, failure.StatusCode, "a loop ends")
}

// redirected sends a read with a user's client to a service that redirects it a number of times within its host. It
// returns how often the service was called.
func redirected(t *testing.T, times int, user http.Client) (calls int, err error) {
	user.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if calls++; calls <= times {
			return answer(302, "", "Location", fmt.Sprint("/moved/", calls))(r)
		}
		return answer(200, someBudget)(r)
	})
	client := newClient(t, nil, letagentpay.WithMaxRetries(0), letagentpay.WithHTTPClient(&user))
	_, err = client.Budget(t.Context())
	return calls, err
}

func TestReadsFollowUpToThreeRedirects(t *testing.T) {
	for times, followed := range map[int]bool{0: true, 1: true, 3: true, 4: false, 5: false} {
		calls, err := redirected(t, times, http.Client{})
		if followed {
			require.NoError(t, err)
			assert.Equal(t, times+1, calls)
			continue
		}
		var failure *letagentpay.APIError
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, 302, failure.StatusCode)
		assert.Equal(t, 4, calls, "the read, and three redirects of %d", times)
	}
}

func TestRedirectsAreFollowedOnlyWhereTheUsersClientDoes(t *testing.T) {
	for name, c := range map[string]struct {
		policy error
		calls  int
	}{
		"followed": {nil, 3},
		"refused":  {http.ErrUseLastResponse, 1},
		"an error": {errShop, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var consulted []string
			calls, err := redirected(t, 2, http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
				assert.Equal(t, "GET", via[0].Method)
				consulted = append(consulted, r.URL.Path)
				return c.policy
			}})
			assert.Equal(t, c.calls, calls)
			assert.Equal(t, "/moved/1", consulted[0])
			var failure *letagentpay.APIError
			switch c.policy {
			case nil:
				require.NoError(t, err)
			case http.ErrUseLastResponse:
				require.ErrorAs(t, err, &failure)
				assert.Equal(t, 302, failure.StatusCode)
			default:
				require.ErrorIs(t, err, c.policy)
			}
		})
	}
}

// net/http resends a request with an Idempotency-Key when a kept-alive connection turns out to be dead. Attempts at a
// purchase could then overlap.
func TestPurchaseIsNotResentByNetHTTP(t *testing.T) {
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPost {
			posts.Add(1)
			connection, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = connection.Close()
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, someBudget)
	}))
	defer server.Close()
	client := realClient(t, server.URL, letagentpay.WithMaxRetries(0))
	_, err := client.Budget(t.Context()) // leaves a kept-alive connection
	require.NoError(t, err)
	_, err = client.Purchase(t.Context(), groceries())
	var unknown *letagentpay.OutcomeUnknownError
	require.ErrorAs(t, err, &unknown)
	require.ErrorIs(t, err, letagentpay.ErrNoResponse)
	assert.EqualValues(t, 1, posts.Load())
}

func TestLogsSayWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s := newService(t).on("POST", "/requests", answer(503, `{"detail":"down"}`), answer(201, autoApproved)).
			on("GET", "/requests", list(""))
		p := groceries()
		p.Description = "private"
		_, err := s.client(letagentpay.WithLogger(logger)).Purchase(t.Context(), p)
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
		require.Len(t, lines, 5)
		assert.Contains(t, lines[0], "msg=letagentpay.attempt operation=purchase method=POST "+
			"path=/api/v1/agent-api/requests attempt=1 status=503")
		assert.Contains(t, lines[1], "level=WARN msg=letagentpay.retry operation=purchase")
		assert.Contains(t, lines[1], "wait=2s")
		assert.Contains(t, lines[2], "attempt=2 status=201")
		assert.Contains(t, lines[3], "operation=requests", "the search for duplicates")
		assert.Contains(t, lines[4], "level=INFO msg=letagentpay.purchase duration=2")
		assert.Contains(t, lines[4], "request_id=r1 status=auto_approved currency=USD category=groceries amount=49.99")
		assert.NotContains(t, logged.String(), "private", "bodies are not logged")
	})
}

func TestConnectionsAreReusedAndLeftToTheirOwner(t *testing.T) {
	var connections atomic.Int64
	fail := atomic.Bool{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if fail.Load() {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"detail":"Agent is paused"}`)
			return
		}
		_, _ = io.WriteString(w, someBudget)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client := realClient(t, server.URL)
	for i := range 6 {
		fail.Store(i%2 == 1)
		_, err := client.Budget(t.Context())
		assert.Equal(t, i%2 == 1, err != nil)
	}
	assert.EqualValues(t, 1, connections.Load())
}

func TestReadsDoNotFollowARedirectToPlainHTTP(t *testing.T) {
	plain := 0
	client := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == "http" {
			plain++
		}
		return &http.Response{
			StatusCode: 302,
			Header:     http.Header{"Location": {"http://pay.example/x"}},
			Body:       http.NoBody,
			Request:    r,
		}, nil
	}), letagentpay.WithMaxRetries(0))
	_, err := client.Budget(t.Context())
	require.Error(t, err)
	assert.Zero(t, plain, "the token would travel in the clear")
}

func TestAnswersCutShortAfterWhatLooksCompleteAreNone(t *testing.T) {
	client := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"categories":["a"]}`), iotest.ErrReader(io.ErrUnexpectedEOF))
		return &http.Response{
			StatusCode:    200,
			Header:        http.Header{"Content-Type": {"application/json"}},
			Request:       r,
			ContentLength: 100,
			Body:          io.NopCloser(body),
		}, nil
	}), letagentpay.WithMaxRetries(0))
	_, err := client.Categories(t.Context())
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
}

type watchedBody struct {
	io.Reader
	closed *atomic.Int64
}

func (w watchedBody) Close() error { w.closed.Add(1); return nil }

func TestBodiesAreClosedAndAttemptsEnded(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"answer":    {200, `{"categories":[]}`},
		"too large": {200, `{"categories":[]}` + strings.Repeat(" ", 2<<20)},
		"refusal":   {403, `{"detail":"x"}`},
		"redirect":  {302, ``},
	} {
		t.Run(name, func(t *testing.T) {
			var closed atomic.Int64
			var attempt context.Context
			client := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				attempt = r.Context()
				return &http.Response{
					StatusCode:    c.status,
					Header:        http.Header{"Content-Type": {"application/json"}},
					Request:       r,
					ContentLength: -1,
					Body:          watchedBody{strings.NewReader(c.body), &closed},
				}, nil
			}), letagentpay.WithMaxRetries(0))
			_, err := client.Categories(t.Context())
			assert.Equal(t, name != "answer", err != nil)
			assert.Positive(t, closed.Load())
			assert.ErrorIs(t, attempt.Err(), context.Canceled)
		})
	}
}

// A server that has processed a form answers 303.
func TestRedirectedWritesMayHaveTakenEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		server.Fail(letagentpaytest.Fault{
			Op:          operation.Purchase,
			AfterCommit: true,
			Status:      303,
			Header:      http.Header{"Location": {"/requests/1"}},
		})
		_, err := guardGroceries(server.Client(), &runs, succeed)(t.Context(), price("30"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown, "30.00 are gone from the budget")
		assert.Zero(t, runs.Load())

		purchase, err := server.Client().Purchase(t.Context(), price("5"))
		require.NoError(t, err)
		server.ResetCalls()
		server.Fail(letagentpaytest.Fault{
			Op:          operation.Confirm,
			AfterCommit: true,
			Status:      303,
			Header:      http.Header{"Location": {"/requests/1"}},
		})
		confirmation, err := server.Client().Confirm(t.Context(), purchase.RequestID,
			letagentpay.ConfirmParams{Success: true})
		require.NoError(t, err, "a read shows the outcome")
		assert.Equal(t, letagentpay.StatusCompleted, confirmation.Status)
		assert.Len(t, server.Calls().Of(operation.Confirm), 1)

		server.Fail(letagentpaytest.Fault{
			Op:     operation.X402Authorize,
			Status: 307,
			Header: http.Header{"Location": {"/x"}},
		})
		_, err = server.Client().X402.Authorize(t.Context(), weather("1"))
		require.ErrorAs(t, err, &unknown)
	})
}

func TestRedirectedPurchasesAreNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests", answer(303, ``, "Location", "/requests/1")).
			on("GET", "/requests", list(""))
		_, err := s.client().Purchase(t.Context(), groceries())
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		posts := 0
		for _, call := range s.recorded() {
			if call.Method == http.MethodPost {
				posts++
			}
		}
		assert.Equal(t, 1, posts)
	})
}

func TestHostileAnswersOverSocketsAreBounded(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"endless body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<12)); err != nil {
					return
				}
			}
		},
		"early hints": func(w http.ResponseWriter, _ *http.Request) {
			for range 2000 {
				w.Header().Set("X", strings.Repeat("x", 10_000))
				w.WriteHeader(http.StatusEarlyHints)
			}
		},
		"redirect loop": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		},
		"huge header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 20<<20))
			_, _ = io.WriteString(w, someBudget)
		},
	} {
		t.Run(name, func(t *testing.T) {
			front := httptest.NewServer(handler)
			defer front.Close()
			begun := time.Now()
			_, err := realClient(t, front.URL, letagentpay.WithMaxRetries(0)).Budget(t.Context())
			require.Error(t, err)
			assert.Less(t, time.Since(begun), 20*time.Second, "far below the attempt's minute")
			assert.Less(t, len(err.Error()), 2000)
		})
	}
}

type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("no reading of " + testToken) }
func (panickingBody) Close() error             { panic("no closing") }

func TestPanicsOfTheTransportAreErrorsOfTheAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		transport roundTrip
		is        error
	}{
		"round trip": {
			func(*http.Request) (*http.Response, error) { panic("no sending of " + testToken) },
			letagentpay.ErrNoResponse,
		},
		"with an error": {
			func(*http.Request) (*http.Response, error) { panic(fmt.Errorf("%s: %w", testToken, io.ErrNoProgress)) },
			io.ErrNoProgress,
		},
		"with nil": {func(*http.Request) (*http.Response, error) { panic(nil) }, letagentpay.ErrNoResponse},
		"with what panics": {
			func(*http.Request) (*http.Response, error) { panic((*net.ParseError)(nil)) }, letagentpay.ErrNoResponse,
		},
		"an error of no use": {
			func(*http.Request) (*http.Response, error) { return nil, (*net.ParseError)(nil) },
			letagentpay.ErrNoResponse,
		},
		"body": {func(r *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: 201,
				Header:     http.Header{},
				Body:       panickingBody{},
				Request:    r,
			}, nil
		}, letagentpay.ErrMalformedResponse},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int64
				attempts := 0
				client := newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						attempts++
						return c.transport(r)
					}
					return list("")(r)
				}), letagentpay.WithMaxRetries(1))
				_, err := guardGroceries(client, &runs, succeed)(t.Context(), groceries())
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown, "it may have been sent")
				require.ErrorIs(t, err, c.is)
				assert.Zero(t, runs.Load())
				assert.Positive(t, attempts)
				for ; err != nil; err = errors.Unwrap(err) {
					assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "secret-of")
				}
			})
		})
	}
	client, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL(testBase),
		letagentpay.WithMaxRetries(0),
		letagentpay.WithHTTPClient(&http.Client{
			Transport:     fixed{302, "", "", ""},
			CheckRedirect: func(*http.Request, []*http.Request) error { panic("no redirecting") },
		}))
	require.NoError(t, err)
	_, err = client.Budget(t.Context())
	require.Error(t, err)
}

func TestTransportThatReturnsNothingIsNamed(t *testing.T) {
	client := newClient(t, roundTrip(broken(nil)), letagentpay.WithMaxRetries(0))
	_, err := client.Budget(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrNoResponse)
	require.ErrorContains(t, err, "the transport returned neither a response nor an error")
	assert.NotContains(t, err.Error(), "panicked")
}

// breaking is a log handler that panics.
type breaking struct {
	slog.Handler
	enabled bool
}

func (b breaking) Enabled(context.Context, slog.Level) bool {
	if !b.enabled {
		panic("not even that")
	}
	return true
}

func (b breaking) Handle(context.Context, slog.Record) error { panic("the disk is full") }

func TestPanickingLoggersBreakNoCall(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			guarded := guardGroceries(server.Client(letagentpay.WithLogger(slog.New(breaking{enabled: enabled}))),
				&runs, succeed)
			server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Status: 503})
			_, err := guarded(t.Context(), price("5"))
			require.NoError(t, err)
			books(t, server, "5.00", "0.00")
			server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
			_, err = guarded(t.Context(), price("5"))
			require.ErrorIs(t, err, letagentpay.ErrForbidden)
			assert.EqualValues(t, 2, runs.Load())
		})
	}
}

func TestHangingLoggersAreLeftAloneForAWhile(t *testing.T) {
	for _, method := range []string{"Enabled", "Handle"} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var records atomic.Int64
				logger := slog.New(badHandler{method, func() {
					records.Add(1)
					time.Sleep(time.Hour)
				}})
				s := newService(t).on("GET", "/budget", answer(200, someBudget))
				client := s.client(letagentpay.WithLogger(logger))
				calls := func() time.Duration {
					begun := time.Now()
					for range 10 {
						_, err := client.Budget(t.Context())
						require.NoError(t, err)
					}
					return time.Since(begun)
				}
				assert.LessOrEqual(t, calls(), 2*time.Second, "only the first record waits for the logger")
				assert.EqualValues(t, 1, records.Load())
				time.Sleep(2 * time.Minute)
				assert.LessOrEqual(t, calls(), 2*time.Second)
				assert.EqualValues(t, 2, records.Load(), "it may have recovered")
			})
		})
	}
}
