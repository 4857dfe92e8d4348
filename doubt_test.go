package letagentpay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// timeoutError is a foreign error that reports a timeout.
type timeoutError struct{}

func (timeoutError) Error() string { return "it took too long" }
func (timeoutError) Timeout() bool { return true }

// matchingError matches another error by its Is method.
type matchingError struct{ as error }

func (matchingError) Error() string          { return "something" }
func (e matchingError) Is(target error) bool { return target == e.as }

// hidingErrors returns errors of guarded functions that can hide a payment.
func hidingErrors() map[string]error {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	untrusted := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	rejected := &letagentpay.NotApprovedError{Status: letagentpay.StatusRejected, RequestID: "r9"}
	return map[string]error{
		"deadline":                          context.DeadlineExceeded,
		"cancelled":                         context.Canceled,
		"deadline of a connection":          os.ErrDeadlineExceeded,
		"wrapped":                           fmt.Errorf("pay: %w", fmt.Errorf("post: %w", context.DeadlineExceeded)),
		"joined":                            errors.Join(errShop, context.Canceled),
		"joined, the other way round":       errors.Join(io.EOF, errShop),
		"several wrapped":                   fmt.Errorf("%w and %w", errShop, io.ErrUnexpectedEOF),
		"EOF":                               io.EOF,
		"unexpected EOF":                    io.ErrUnexpectedEOF,
		"closed pipe":                       io.ErrClosedPipe,
		"closed connection":                 net.ErrClosed,
		"connection reset":                  reset,
		"connection aborted":                syscall.ECONNABORTED,
		"broken pipe":                       &net.OpError{Op: "write", Err: syscall.EPIPE},
		"timeout of the operating system":   syscall.ETIMEDOUT,
		"timeout of a foreign type":         timeoutError{},
		"wrapped timeout of a foreign type": fmt.Errorf("pay: %w", timeoutError{}),
		"match by an Is method":             matchingError{context.DeadlineExceeded},
		"exchange that broke":               posting(io.EOF),
		"exchange that was reset":           fmt.Errorf("pay: %w", posting(reset)),
		"exchange with an error of its own": posting(errors.New("http2: client connection lost")),
		"exchange that timed out":           posting(context.DeadlineExceeded),
		"unknown outcome":                   &letagentpay.OutcomeUnknownError{Op: operation.X402Report, Err: errShop},
		"unknown outcome of another kind": fmt.Errorf("pay: %w", &letagentpay.OutcomeUnknownError{
			Op:  "purchase",
			Err: &letagentpay.APIError{StatusCode: 403},
		}),
		"service that failed":               &letagentpay.APIError{Op: operation.X402Authorize, StatusCode: 502},
		"service that did not answer":       &letagentpay.APIError{Op: operation.X402Report, Err: io.EOF},
		"certain for one of two":            errors.Join(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, io.EOF),
		"timeout, then an untrusted server": errors.Join(context.DeadlineExceeded, untrusted),
		"paid, then an untrusted server":    errors.Join(&letagentpay.UnconfirmedError{MayHaveSpent: true}, untrusted),
		"not approved and a lost exchange":  errors.Join(rejected, posting(io.EOF)),
	}
}

// posting returns the error of net/http for a POST that fails with err.
func posting(err error) error {
	return &url.Error{Op: "Post", URL: "https://shop.example/pay", Err: err}
}

// certainErrors returns errors that exclude a payment, and errors that do not come from a connection.
func certainErrors() map[string]error {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	marked := fmt.Errorf("x: %w", letagentpay.NotPaid(errShop))
	refused := func(status letagentpay.Status, err error) error {
		return &letagentpay.NotApprovedError{Status: status, RequestID: "r9", Err: err}
	}
	return map[string]error{
		"an error of the shop":          errShop,
		"no connection":                 dial,
		"no connection to the proxy":    &net.OpError{Op: "proxyconnect", Err: errors.New("refused")},
		"no connection in time":         &net.OpError{Op: "dial", Err: context.DeadlineExceeded},
		"no such host":                  &net.DNSError{Err: "no such host", Name: "shop.example"},
		"no such host in time":          &net.DNSError{Err: "i/o timeout", Name: "shop.example", IsTimeout: true},
		"exchange without a connection": posting(dial),
		"exchange without a host":       posting(&net.DNSError{Err: "no such host", IsTimeout: true}),
		"bad URL":                       &url.Error{Op: "parse", URL: "::", Err: errors.New("missing protocol scheme")},
		"untrusted server":              posting(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"marked":                        letagentpay.NotPaid(context.DeadlineExceeded),
		"marked and wrapped":            fmt.Errorf("pay: %w", letagentpay.NotPaid(io.EOF)),
		"marked, wrapping":              letagentpay.NotPaid(fmt.Errorf("pay: %w", posting(io.EOF))),
		"marked among others":           errors.Join(context.Canceled, letagentpay.NotPaid(errShop)),
		"marked deep among others":      fmt.Errorf("%w; %w", io.EOF, errors.Join(errShop, marked)),
		"nested: rejected":              refused(letagentpay.StatusRejected, nil),
		"nested: pending, timed out": refused(letagentpay.StatusPending,
			&letagentpay.WaitTimeoutError{RequestID: "r9"}),
		"nested: pending, cancelled": fmt.Errorf("buy: %w", refused(letagentpay.StatusPending, context.Canceled)),
		"nested: expired":            refused(letagentpay.StatusExpired, nil),
		"nested: mismatch":           &letagentpay.MismatchError{RequestID: "r9"},
		"nested: handled": &letagentpay.AlreadyHandledError{
			Request: &letagentpay.Request{RequestID: "r9"},
			Err:     context.Canceled,
		},
		"nested: unconfirmed":   &letagentpay.UnconfirmedError{RequestID: "r9", Err: context.DeadlineExceeded},
		"nested: bad parameter": &letagentpay.ParamError{Field: "x", Err: io.EOF},
		"nested: refused":       &letagentpay.APIError{Op: "purchase", StatusCode: 403},
	}
}

func TestMayHavePaid(t *testing.T) {
	for name, err := range hidingErrors() {
		assert.True(t, letagentpay.MayHavePaid(err), name)
	}
	for name, err := range certainErrors() {
		assert.False(t, letagentpay.MayHavePaid(err), name)
	}
	assert.False(t, letagentpay.MayHavePaid(nil))
	require.NoError(t, letagentpay.NotPaid(nil))
	marked := letagentpay.NotPaid(fmt.Errorf("pay: %w", &shopError{"closed"}))
	assert.EqualError(t, marked, "pay: closed")
	var shop *shopError
	require.ErrorAs(t, marked, &shop)
}

func failing(err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "partial", err }
}

func TestErrorThatCanHideAPaymentLeavesTheMoneyBooked(t *testing.T) {
	for name, hiding := range hidingErrors() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				client, journal := server.Client(), new(memoryJournal)
				var runs atomic.Int64
				guarded := guardGroceries(client, &runs, failing(hiding), letagentpay.WithJournal(journal))
				result, err := guarded(t.Context(), underKey("30", "turn-7"))
				assert.Equal(t, "partial", result)
				require.ErrorIs(t, err, hiding)
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed)
				assert.True(t, unconfirmed.MayHaveSpent)
				assert.Equal(t, server.Requests()[0].RequestID, unconfirmed.RequestID)
				assert.Equal(t, letagentpay.ConfirmParams{Success: true}, unconfirmed.Params,
					"what to send if it was paid")
				assert.Empty(t, server.Calls().Of(operation.Confirm))
				assert.Equal(t, letagentpay.StatusAutoApproved, server.Requests()[0].Status)
				books(t, server, "30.00", "0.00")

				assert.Equal(t, []string{"started"}, journal.states())
				var handled *letagentpay.AlreadyHandledError
				for _, again := range []*letagentpay.Client{client, server.Client(elsewhere())} {
					repeated := guardGroceries(again, &runs, succeed, letagentpay.WithJournal(journal))
					_, err = repeated(t.Context(), underKey("30", "turn-7"))
					require.ErrorAs(t, err, &handled)
					assert.True(t, handled.MayHaveRun)
					require.Error(t, handled.Err)
					interrupted, err := again.Recover(t.Context(), journal)
					require.NoError(t, err)
					require.Len(t, interrupted, 1)
					assert.True(t, interrupted[0].MayHaveRun)
					assert.Equal(t, unconfirmed.RequestID, interrupted[0].Request.RequestID)
					assert.NotEmpty(t, interrupted[0].Entry.Error)
				}
				_, err = client.Authorize(t.Context(), underKey("30", "turn-7"))
				require.ErrorAs(t, err, &handled, "it is known without the journal as well")
				assert.True(t, handled.MayHaveRun)

				_, err = client.Confirm(t.Context(), unconfirmed.RequestID, letagentpay.ConfirmParams{})
				require.NoError(t, err, "the caller reports the outcome once it is known")
				books(t, server, "0.00", "0.00")
				interrupted, err := client.Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Empty(t, interrupted)
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

func TestErrorThatIsCertainReturnsTheMoney(t *testing.T) {
	for name, certain := range certainErrors() {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				var runs atomic.Int64
				guarded := guardGroceries(server.Client(), &runs, failing(certain), opts...)
				_, err := guarded(t.Context(), underKey("30", "turn-7"))
				assert.Equal(t, certain, err, "only the function's own error")
				confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
				usable(t, server, "turn-7")
			})
		})
	}
}

func TestSpentDecidesOverDoubt(t *testing.T) {
	errs := hidingErrors()
	for name, err := range certainErrors() {
		errs["certain: "+name] = err
	}
	for name, failure := range errs {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			_, err := guardGroceries(server.Client(), &runs, func(ctx context.Context) (string, error) {
				reportSpent(ctx, "25")
				return "", failure
			})(t.Context(), underKey("30", "turn-7"))
			assert.Equal(t, failure, err)
			confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
		})
	}
}

func TestOnErrorDecidesWhatCanHideAPayment(t *testing.T) {
	exits := func(error) bool { runtime.Goexit(); return false }
	ofTheShop := func(err error) bool { return errors.Is(err, errShop) }
	for name, c := range map[string]struct {
		judge func(error) bool
		err   error
		kept  bool
	}{
		"never":                       {func(error) bool { return false }, context.DeadlineExceeded, false},
		"always":                      {func(error) bool { return true }, errShop, true},
		"by kind, yes":                {ofTheShop, fmt.Errorf("x: %w", errShop), true},
		"by kind, no":                 {ofTheShop, io.EOF, false},
		"the default":                 {letagentpay.MayHavePaid, io.EOF, true},
		"NotPaid takes precedence":    {func(error) bool { return true }, letagentpay.NotPaid(errShop), false},
		"a panic is doubt":            {func(error) bool { panic("a bug") }, errShop, true},
		"an exit is doubt":            {exits, errShop, true},
		"a hang is doubt":             {func(error) bool { time.Sleep(time.Hour); return false }, errShop, true},
		"a slow one is awaited":       {func(error) bool { time.Sleep(4 * time.Second); return false }, io.EOF, false},
		"a typed nil is always doubt": {func(error) bool { return false }, (*shopError)(nil), true},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				var runs atomic.Int64
				guarded := guardGroceries(server.Client(), &runs, failing(c.err),
					append(opts, letagentpay.OnError(c.judge))...)
				var err error
				returned := false
				assert.Nil(t, alone(func() {
					_, err = guarded(t.Context(), underKey("30", "turn-7"))
					returned = true
				}))
				require.True(t, returned)
				if !c.kept {
					assert.Equal(t, c.err, err)
					confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
					return
				}
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed)
				assert.True(t, unconfirmed.MayHaveSpent)
				assert.Empty(t, server.Calls().Of(operation.Confirm))
				books(t, server, "30.00", "0.00")
				usable(t, server, "turn-7")
			})
		})
	}
	_, err := serve(t).Client().Authorize(t.Context(), price("5"), letagentpay.OnError(nil))
	require.ErrorIs(t, err, letagentpay.ErrInvalid)
}

// badMethods is an error with one method that misbehaves.
type badMethods struct {
	method string
	do     func()
}

func (e badMethods) misbehave(method string) {
	if e.method == method {
		e.do()
	}
}

func (e badMethods) Error() string   { return "the shop is closed" }
func (e badMethods) Is(error) bool   { e.misbehave("Is"); return false }
func (e badMethods) As(any) bool     { e.misbehave("As"); return false }
func (e badMethods) Timeout() bool   { e.misbehave("Timeout"); return false }
func (e badMethods) Temporary() bool { return false }
func (e badMethods) Unwrap() error   { e.misbehave("Unwrap"); return nil }

func TestErrorsThatCannotBeJudgedAreDoubtful(t *testing.T) {
	for name, do := range mischief {
		for _, method := range []string{"Is", "Timeout"} {
			t.Run(name+" in "+method, func(t *testing.T) { settleWithBadMethods(t, method, do) })
		}
	}
}

// settleWithBadMethods settles an approval with an error that has a misbehaving method.
func settleWithBadMethods(t *testing.T, method string, do func()) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		approval, err := server.Client().Authorize(t.Context(), underKey("30", "turn-7"), opts...)
		require.NoError(t, err)
		var settleErr error
		begun, returned := time.Now(), false
		assert.Nil(t, alone(func() {
			settleErr = approval.Settle(t.Context(), badMethods{method, do})
			returned = true
		}))
		assert.True(t, returned)
		assert.Less(t, time.Since(begun), time.Minute)
		assert.Empty(t, server.Calls().Of(operation.Confirm))
		books(t, server, "30.00", "0.00")
		usable(t, server, "turn-7")
		unconfirmed, ok := settleErr.(*letagentpay.UnconfirmedError) // errors.As would call the method
		require.True(t, ok, "%T", settleErr)
		assert.True(t, unconfirmed.MayHaveSpent)
	})
}

func TestDoubtOfAnAuthorizedPurchase(t *testing.T) {
	_ = defaultLog(t)
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		approval, err := client.Authorize(t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		for _, err := range []error{context.DeadlineExceeded, nil, errShop} { // the first call decides
			settleErr := approval.Settle(t.Context(), err)
			var unconfirmed *letagentpay.UnconfirmedError
			require.ErrorAs(t, settleErr, &unconfirmed)
			assert.True(t, unconfirmed.MayHaveSpent)
			require.ErrorIs(t, settleErr, context.DeadlineExceeded)
		}
		require.ErrorIs(t, approval.Spent(letagentpay.MustAmount("25"), ""), letagentpay.ErrSettled)
		assert.Empty(t, server.Calls().Of(operation.Confirm))
		_, err = client.Confirm(t.Context(), approval.RequestID(), letagentpay.ConfirmParams{
			Success:      true,
			ActualAmount: letagentpay.MustAmount("25"),
		})
		require.NoError(t, err)
		books(t, server, "25.00", "0.00")
		usable(t, server, "turn-7")
	})
}

// A payment of the inner call may be the payment of the outer purchase.
func TestDoubtOfANestedCallIsTheOuterOnesToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		var outer, inner atomic.Int64
		_, err := guardGroceries(client, &outer, func(ctx context.Context) (string, error) {
			return guardGroceries(client, &inner, failing(io.ErrUnexpectedEOF))(ctx, price("7"))
		})(t.Context(), price("30"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		require.Len(t, server.Requests(), 2)
		assert.Equal(t, server.Requests()[0].RequestID, unconfirmed.RequestID)
		assert.True(t, unconfirmed.MayHaveSpent)
		var nested *letagentpay.UnconfirmedError
		require.ErrorAs(t, unconfirmed.Err, &nested)
		assert.Equal(t, server.Requests()[1].RequestID, nested.RequestID)
		books(t, server, "37.00", "0.00")
	})
}

// waysToLoop are ways in which a program repeats a purchase.
var waysToLoop = map[string]func(ctx context.Context, i int) (context.Context, letagentpay.PurchaseParams){
	"random keys": func(ctx context.Context, _ int) (context.Context, letagentpay.PurchaseParams) {
		return ctx, price("30")
	},
	"own keys": func(ctx context.Context, i int) (context.Context, letagentpay.PurchaseParams) {
		return ctx, underKey("30", fmt.Sprint("turn-", i))
	},
	"scopes": func(ctx context.Context, i int) (context.Context, letagentpay.PurchaseParams) {
		return letagentpay.WithPurchaseScope(ctx, fmt.Sprint("message ", i)), price("30")
	},
	"runs of scopes": func(ctx context.Context, i int) (context.Context, letagentpay.PurchaseParams) {
		return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(ctx, fmt.Sprint("message ", i))), price("30")
	},
	"retries of one scope": func(ctx context.Context, _ int) (context.Context, letagentpay.PurchaseParams) {
		return letagentpay.WithPurchaseScope(ctx, "message 17"), price("30")
	},
	"runs of one scope": func(ctx context.Context, _ int) (context.Context, letagentpay.PurchaseParams) {
		return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(ctx, "message 17")), price("30")
	},
}

// A purchase whose function never runs is refunded in full.
func TestContextThatEndsBetweenApprovalAndRunCostsNothing(t *testing.T) {
	for name, begin := range waysToLoop {
		for how, amount := range map[string]string{"approved at once": "30", "approved by a human": "60"} {
			t.Run(name+", "+how, func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
						return letagentpaytest.Approve().After(time.Second)
					})
					var runs atomic.Int64
					for i := range 20 {
						ctx, cancel := context.WithCancel(t.Context())
						ctx, p := begin(ctx, i)
						p.Amount = letagentpay.MustAmount(amount)
						client := server.Client(endingOnceApproved(server, cancel, name != "random keys")...)
						_, err := guardGroceries(client, &runs, succeed, opts...)(ctx, p)
						cancel()
						require.ErrorIs(t, err, context.Canceled, "call %d", i)
						var failure *letagentpay.APIError
						require.ErrorAs(t, err, &failure)
						require.NotErrorIs(t, err, letagentpay.ErrNoResponse, "the outcome of the purchase is known")
						time.Sleep(2 * time.Minute)
					}
					assert.Zero(t, runs.Load())
					assert.Len(t, server.Requests(), 20)
					books(t, server, "0.00", "0.00")
				})
			})
		}
	}
}

// endingOnceApproved returns options that end a context as soon as the client knows of the newest approval: from the
// answer to the purchase, from a wait or, where reads is set, from reading the request.
func endingOnceApproved(server *letagentpaytest.Server, end context.CancelFunc, reads bool) []letagentpay.Option {
	inner := server.HTTPClient().Transport
	newest := func(ended letagentpay.Status) bool {
		all := server.Requests()
		return len(all) > 0 && all[len(all)-1].Status == ended
	}
	return []letagentpay.Option{
		through(exchange(func(r *http.Request) (*http.Response, error) {
			response, err := inner.RoundTrip(r)
			readsOne := r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/requests")
			if err != nil || !reads || !readsOne || !newest(letagentpay.StatusAutoApproved) {
				return response, err
			}
			data, err := io.ReadAll(response.Body)
			response.Body = io.NopCloser(bytes.NewReader(data))
			end()
			return response, err
		})),
		letagentpay.WithObserver(endings(func(op operation.Op) {
			if op == operation.Wait || !reads && op == operation.Purchase && newest(letagentpay.StatusAutoApproved) {
				end()
			}
		})),
	}
}

// endings is an observer that is called at the end of each operation.
type endings func(op operation.Op)

func (e endings) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	return ctx, func(letagentpay.Observation) { e(op) }
}

// A retry loop must not drain the budget while the journal cannot be written.
func TestJournalThatCannotBeWrittenCostsNothing(t *testing.T) {
	for name, begin := range waysToLoop {
		for how, trouble := range map[string]func() error{
			"an error": func() error { return errors.New("disk full") },
			"a panic":  func() error { panic("a bug") },
			"an exit":  func() error { runtime.Goexit(); return nil },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server := serve(t)
					broken := true
					journal := &memoryJournal{fail: func(op string, e *journalEntry) error {
						if broken && op == "put" && e.State == stateStarted {
							return trouble()
						}
						return nil
					}}
					client := server.Client()
					var runs atomic.Int64
					for i := range 20 {
						ctx, p := begin(t.Context(), i)
						_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(ctx, p)
						var journalError *letagentpay.JournalError
						require.ErrorAs(t, err, &journalError, "call %d", i)
						time.Sleep(2 * time.Minute) // the service accepts 60 purchases a minute
					}
					assert.Zero(t, runs.Load())
					assert.Len(t, server.Requests(), 20)
					books(t, server, "0.00", "0.00")
					assert.Empty(t, journal.states())
					broken = false
					ctx, p := begin(t.Context(), 20)
					_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(ctx, p)
					require.NoError(t, err)
					assert.EqualValues(t, 1, runs.Load())
					books(t, server, "30.00", "0.00")
				})
			})
		}
	}
}

// The caller decides about a resumed request: it stays approved and can be resumed again.
func TestResumedRequestThatCannotRunStaysApproved(t *testing.T) {
	server := serve(t)
	client := server.Client()
	purchase, err := client.Purchase(t.Context(), price("30"))
	require.NoError(t, err)
	broken := true
	journal := &memoryJournal{fail: func(op string, e *journalEntry) error {
		if broken && op == "put" && e.State == stateStarted {
			return errors.New("disk full")
		}
		return nil
	}}
	var runs atomic.Int64
	guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
	for range 3 {
		_, err = guarded(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), price("30"))
		var journalError *letagentpay.JournalError
		require.ErrorAs(t, err, &journalError)
		assert.Empty(t, server.Calls().Of(operation.Confirm))
	}
	broken = false
	_, err = guarded(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), price("30"))
	require.NoError(t, err)
	assert.EqualValues(t, 1, runs.Load())
	confirmedOnce(t, server, letagentpay.StatusCompleted, "30.00")
}

// The function may return an error type of this package with no field set.
func TestZeroErrorsOfTheFunctionAreSettled(t *testing.T) {
	for _, err := range []error{
		new(letagentpay.AlreadyHandledError),
		new(letagentpay.NotApprovedError),
		new(letagentpay.MismatchError),
		new(letagentpay.UnconfirmedError),
		new(letagentpay.ParamError),
		new(letagentpay.JournalError),
		new(letagentpay.OverspendError),
		new(letagentpay.DuplicateError),
	} {
		t.Run(fmt.Sprintf("%T", err), func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			var got error
			assert.Nil(t, alone(func() {
				_, got = guardGroceries(server.Client(), &runs, failing(err))(t.Context(), price("30"))
			}))
			require.ErrorIs(t, got, err)
			confirmations := 1
			if letagentpay.MayHavePaid(err) {
				confirmations = 0
			}
			assert.Len(t, server.Calls().Of(operation.Confirm), confirmations)
		})
	}
}

func TestErrorsThatCannotBeAskedAreDoubtful(t *testing.T) {
	for name, do := range mischief {
		for _, method := range []string{"As", "Unwrap"} {
			t.Run(name+" in "+method, func(t *testing.T) { settleWithBadMethods(t, method, do) })
		}
	}
}

// A purchase under its own key is read after the answer. Here the context ends between the two.
func TestContextThatEndsBeforeAnOwnPurchaseIsReadCostsNothing(t *testing.T) {
	for name, begin := range waysToLoop {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				var runs atomic.Int64
				for i := range 10 {
					ctx, cancel := context.WithCancel(t.Context())
					ctx, p := begin(ctx, i)
					client := server.Client(letagentpay.WithObserver(endings(func(op operation.Op) {
						if op == operation.Purchase {
							cancel()
						}
					})))
					_, err := guardGroceries(client, &runs, succeed)(ctx, p)
					cancel()
					require.Error(t, err)
					time.Sleep(2 * time.Minute)
				}
				assert.Zero(t, runs.Load())
				books(t, server, "0.00", "0.00")
			})
		})
	}
}

func TestWhatWasGivenBackHidesNoPayment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := server.Client(endingOnceApproved(server, cancel, false)...)
		var runs atomic.Int64
		inner := guardGroceries(client, &runs, succeed)
		_, err := inner(ctx, price("30"))
		require.Zero(t, runs.Load())
		books(t, server, "0.00", "0.00")
		assert.False(t, letagentpay.MayHavePaid(err))
	})
}
