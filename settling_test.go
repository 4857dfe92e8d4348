package letagentpay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// shopError is a user's error whose Error method needs a receiver.
type shopError struct{ code string }

func (e *shopError) Error() string { return e.code }

// reportSpent records an amount as spent, inside a guarded function.
func reportSpent(ctx context.Context, amount string) {
	approval, _ := letagentpay.ApprovalFromContext(ctx)
	_ = approval.Spent(letagentpay.MustAmount(amount), "")
}

// alone runs do in a goroutine of its own, which it may end in any way, and returns the value of its panic.
func alone(do func()) (panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		do()
	}()
	<-done
	return panicked
}

// lockedBuffer is a buffer for loggers.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// defaultLog replaces [slog.Default] until the test ends.
func defaultLog(t *testing.T) *lockedBuffer {
	t.Helper()
	buffer, before, writer, flags := new(lockedBuffer), slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(logTo(buffer))
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	return buffer
}

// mischief holds what a user's code may do instead of returning.
var mischief = map[string]func(){
	"panics":            func() { panic("a bug") },
	"panics with nil":   func() { panic(nil) },
	"aborts":            func() { panic(http.ErrAbortHandler) },
	"ends":              runtime.Goexit,
	"hangs for 11 s":    func() { time.Sleep(11 * time.Second) },
	"hangs for an hour": func() { time.Sleep(time.Hour) },
}

// confirmedOnce checks that one confirmation reached the server and succeeded, and checks the books.
func confirmedOnce(t *testing.T, server *letagentpaytest.Server, status letagentpay.Status, spent string) {
	t.Helper()
	require.NotEmpty(t, server.Requests())
	assert.Equal(t, status, server.Requests()[0].Status)
	assert.Len(t, server.Calls().Of(operation.Confirm), 1, "confirmations")
	books(t, server, spent, "0.00")
}

// usable checks that a call under the key returns soon and without a second run.
func usable(t *testing.T, server *letagentpaytest.Server, key string) {
	t.Helper()
	begun := time.Now()
	var runs atomic.Int64
	_, err := guardGroceries(server.Client(), &runs, succeed)(t.Context(), underKey("30", key))
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled)
	assert.Zero(t, runs.Load())
	assert.Less(t, time.Since(begun), 10*time.Second)
	assert.NotErrorIs(t, err, letagentpay.ErrInProgress)
}

func TestTypedNilErrorIsSettled(t *testing.T) {
	for _, spent := range []bool{true, false} {
		t.Run(fmt.Sprint("spent ", spent), func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				var runs atomic.Int64
				guarded := guardGroceries(server.Client(), &runs, func(ctx context.Context) (string, error) {
					if spent {
						reportSpent(ctx, "25")
					}
					var none *shopError
					return "receipt", none
				}, opts...)
				var err error
				require.Nil(t, alone(func() { _, err = guarded(t.Context(), underKey("30", "turn-7")) }))
				if spent {
					confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
				} else { // the function most likely meant success
					var unconfirmed *letagentpay.UnconfirmedError
					require.ErrorAs(t, err, &unconfirmed)
					assert.True(t, unconfirmed.MayHaveSpent)
					assert.NotEmpty(t, unconfirmed.Error())
					books(t, server, "30.00", "0.00")
				}
				usable(t, server, "turn-7")
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// badError is an error whose Error method does not return.
type badError struct{ do func() }

func (e badError) Error() string { e.do(); return "" }

func TestErrorMethodsCannotStopTheConfirmation(t *testing.T) {
	for name, do := range mischief {
		for _, spent := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", spent ", spent), func(t *testing.T) { misbehavingError(t, do, spent) })
		}
	}
}

// misbehavingError makes a guarded call whose function returns an error that misbehaves.
func misbehavingError(t *testing.T, do func(), spent bool, clientOpts ...letagentpay.Option) {
	_ = defaultLog(t)
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(clientOpts...), &runs, func(ctx context.Context) (string, error) {
			if spent {
				reportSpent(ctx, "25")
			}
			return "receipt", badError{do}
		}, opts...)
		begun, returned := time.Now(), false
		assert.Nil(t, alone(func() {
			_, _ = guarded(t.Context(), underKey("30", "turn-7"))
			returned = true
		}))
		assert.True(t, returned)
		assert.Less(t, time.Since(begun), 40*time.Second)
		if spent {
			confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
		} else {
			confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
		}
		usable(t, server, "turn-7")
		assert.EqualValues(t, 1, runs.Load())
	})
}

// badCodec misbehaves in one of its methods.
type badCodec struct{ encode, decode func() }

func (c badCodec) Encode(any) ([]byte, error) {
	if c.encode != nil {
		c.encode()
	}
	return []byte(`"receipt"`), nil
}

func (c badCodec) Decode([]byte, any) error {
	if c.decode != nil {
		c.decode()
	}
	return nil
}

// lyingCodec decodes to another result than the one encoded.
type lyingCodec struct{}

func (lyingCodec) Encode(any) ([]byte, error) { return []byte("x"), nil }
func (lyingCodec) Decode(_ []byte, result any) error {
	*result.(*string) = "the receipt of another caller"
	return nil
}

func TestCodecsCannotStopTheConfirmation(t *testing.T) {
	codecs := map[string]letagentpay.ResultCodec{"lies": lyingCodec{}, "decodes nothing": badCodec{}}
	for name, do := range mischief {
		codecs["encoding "+name], codecs["decoding "+name] = badCodec{encode: do}, badCodec{decode: do}
	}
	for name, codec := range codecs {
		for _, spent := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", spent ", spent), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server := serve(t)
					var runs atomic.Int64
					fn := succeed
					if spent {
						fn = spending("25", nil)
					}
					guarded := guardGroceries(server.Client(), &runs, fn, letagentpay.WithJournal(new(memoryJournal)),
						letagentpay.WithResultCodec(codec))
					begun := time.Now()
					var err error
					assert.Nil(t, alone(func() { _, err = guarded(t.Context(), underKey("30", "turn-7")) }))
					require.NoError(t, err)
					assert.Less(t, time.Since(begun), 30*time.Second)
					confirmedOnce(t, server, letagentpay.StatusCompleted, map[bool]string{
						true:  "25.00",
						false: "30.00",
					}[spent])
					usable(t, server, "turn-7")

					result, err := guarded(t.Context(), underKey("30", "turn-7"))
					var handled *letagentpay.AlreadyHandledError
					require.ErrorAs(t, err, &handled, "a result that the codec changed is not returned: %q",
						result)
					assert.EqualValues(t, 1, runs.Load())
				})
			})
		}
	}
}

// troubledJournal calls trouble in its methods, without holding its lock.
type troubledJournal struct {
	memoryJournal
	trouble func(op string, state journalState)
}

func (j *troubledJournal) Get(ctx context.Context, key string) (*journalEntry, error) {
	j.trouble("get", "")
	return j.memoryJournal.Get(ctx, key)
}

func (j *troubledJournal) Put(ctx context.Context, entry *journalEntry) error {
	j.trouble("put", entry.State)
	return j.memoryJournal.Put(ctx, entry)
}

func (j *troubledJournal) Delete(ctx context.Context, key string) error {
	j.trouble("delete", "")
	return j.memoryJournal.Delete(ctx, key)
}

func (j *troubledJournal) Entries(ctx context.Context) iter.Seq2[*journalEntry, error] {
	j.trouble("entries", "")
	return j.memoryJournal.Entries(ctx)
}

func TestJournalsCannotStopTheConfirmation(t *testing.T) {
	_ = defaultLog(t)
	for name, do := range mischief {
		for _, state := range []journalState{
			stateRequested, stateStarted, stateReturned, stateSettled,
		} {
			for _, fails := range []bool{false, true} {
				for _, key := range []string{"turn-7", ""} {
					t.Run(fmt.Sprint(name, " at ", state, ", the function fails ", fails, ", key ", key),
						func(t *testing.T) {
							inBubble(t, func(t *testing.T) {
								server := serve(t)
								var troubled atomic.Bool
								journal := &troubledJournal{trouble: func(op string, s journalState) {
									if op == "put" && s == state && !troubled.Swap(true) {
										do()
									}
								}}
								var runs atomic.Int64
								fn := spending("25", nil)
								if fails {
									fn = func(context.Context) (string, error) { return "", errShop }
								}
								guarded := guardGroceries(server.Client(), &runs, fn, letagentpay.WithJournal(journal))
								begun := time.Now()
								var err error
								assert.Nil(t, alone(func() { _, err = guarded(t.Context(), underKey("30", key)) }))
								assert.Less(t, time.Since(begun), 30*time.Second)

								var journalError *letagentpay.JournalError
								switch {
								case state == stateRequested:
									require.ErrorAs(t, err, &journalError)
									assert.Empty(t, server.Requests(), "nothing was requested")
									assert.Zero(t, runs.Load())
								case state == stateStarted:
									require.ErrorAs(t, err, &journalError)
									assert.Zero(t, runs.Load())
									confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
								case fails:
									require.ErrorIs(t, err, errShop)
									require.NotErrorAs(t, err, &journalError, "the failure is confirmed")
									confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
								default:
									require.NoError(t, err, "the success is confirmed")
									confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
								}
								if key != "" && state != stateRequested {
									usable(t, server, key)
								}
								time.Sleep(2 * time.Hour) // until the hanging write ends
								assert.LessOrEqual(t, runs.Load(), int64(1))
								if state == stateReturned {
									assert.Equal(t, []string{"settled"}, journal.states(), "writes keep their order")
								}
							})
						})
				}
			}
		}
	}
}

// Reads and deletes of the journal may fail as well. Nothing runs twice, nothing stays booked, and no lock stays held.
func TestJournalsThatCannotBeReadHoldNothing(t *testing.T) {
	for name, do := range mischief {
		for _, op := range []string{"get", "delete", "entries"} {
			for how, resumes := range map[string]bool{"by key": false, "resumed": true} {
				t.Run(name+" in "+op+", "+how, func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						server := serve(t)
						ctx, client := t.Context(), server.Client()
						if resumes {
							purchase, err := client.Purchase(ctx, price("30"))
							require.NoError(t, err)
							ctx = letagentpay.ResumeApproval(ctx, purchase.RequestID)
						}
						journal := &troubledJournal{trouble: func(o string, _ journalState) {
							if o == op {
								do()
							}
						}}
						var runs atomic.Int64
						_ = alone(func() {
							_, _ = guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(
								ctx, underKey("30", "turn-7"))
						})
						ran := runs.Load()
						assert.LessOrEqual(t, ran, int64(1))
						_, _ = guardGroceries(client, &runs, succeed)(ctx, underKey("30", "turn-7"))
						assert.EqualValues(t, 1, runs.Load(), "another call can have the key and the request")
						assert.Len(t, server.Requests(), 1)
						confirmedOnce(t, server, letagentpay.StatusCompleted, "30.00")
					})
				})
			}
		}
	}
}

// badObserver misbehaves as an operation begins or ends.
type badObserver struct {
	op         operation.Op
	begin, end func()
}

func (o badObserver) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	if op == o.op && o.begin != nil {
		o.begin()
	}
	return ctx, func(letagentpay.Observation) {
		if op == o.op && o.end != nil {
			o.end()
		}
	}
}

var operations = []operation.Op{operation.Purchase, operation.Wait, operation.Guard, operation.Confirm}

func TestObserversCannotStopTheConfirmation(t *testing.T) {
	for name, do := range mischief {
		for _, op := range operations {
			for when, observer := range map[string]letagentpay.Observer{
				"begin": badObserver{op, do, nil},
				"end":   badObserver{op, nil, do},
			} {
				for _, fails := range []bool{false, true} {
					t.Run(fmt.Sprint(name, " at the ", when, " of ", op, ", the function fails ", fails),
						func(t *testing.T) {
							inBubble(t, func(t *testing.T) {
								server := serve(t)
								server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
									return letagentpaytest.Approve().After(5 * time.Second)
								})
								var runs atomic.Int64
								guarded := guardGroceries(server.Client(letagentpay.WithObserver(observer)), &runs,
									func(ctx context.Context) (string, error) {
										if fails {
											return "", errShop
										}
										reportSpent(ctx, "55")
										return "receipt", nil
									})
								begun := time.Now()
								var err error
								assert.Nil(t, alone(func() { _, err = guarded(t.Context(), underKey("60", "turn-7")) }))
								assert.Less(t, time.Since(begun), 2*time.Minute)
								assert.EqualValues(t, 1, runs.Load())
								if fails {
									require.ErrorIs(t, err, errShop)
									confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
								} else {
									require.NoError(t, err)
									confirmedOnce(t, server, letagentpay.StatusCompleted, "55.00")
								}
								_, err = guardGroceries(server.Client(), &runs, succeed)(
									t.Context(), underKey("60", "turn-7"))
								var handled *letagentpay.AlreadyHandledError
								require.ErrorAs(t, err, &handled)
								assert.EqualValues(t, 1, runs.Load())
							})
						})
				}
			}
		}
	}
}

// nilObserver returns nothing.
type nilObserver struct{}

func (nilObserver) Begin(context.Context, operation.Op) (context.Context, func(letagentpay.Observation)) {
	return nil, nil
}

func TestObserversThatReturnNothing(t *testing.T) {
	server := serve(t)
	var runs atomic.Int64
	_, err := guardGroceries(server.Client(letagentpay.WithObserver(nilObserver{})), &runs, spending("25", nil))(
		t.Context(), price("30"))
	require.NoError(t, err)
	assert.EqualValues(t, 1, runs.Load())
	confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
}

// badHandler is a log handler that misbehaves in one of its methods.
type badHandler struct {
	method string
	do     func()
}

func (h badHandler) misbehave(method string) {
	if method == h.method {
		h.do()
	}
}

func (h badHandler) Enabled(context.Context, slog.Level) bool { h.misbehave("Enabled"); return true }

func (h badHandler) Handle(context.Context, slog.Record) error {
	h.misbehave("Handle")
	return errors.New("the disk is full")
}
func (h badHandler) WithAttrs([]slog.Attr) slog.Handler { h.misbehave("WithAttrs"); return h }
func (h badHandler) WithGroup(string) slog.Handler      { h.misbehave("WithGroup"); return h }

func TestLoggersThatPanicCannotStopTheConfirmation(t *testing.T) {
	for _, name := range []string{"panics", "panics with nil", "aborts"} {
		for _, method := range []string{"Enabled", "Handle", "WithAttrs", "WithGroup"} {
			t.Run(name+" in "+method, func(t *testing.T) { misbehavingLogger(t, method, mischief[name]) })
		}
	}
}

// misbehavingLogger makes a guarded call whose logger misbehaves.
func misbehavingLogger(t *testing.T, method string, do func()) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Status: 503, Times: 1}) // so that more is logged
		var runs atomic.Int64
		client := server.Client(letagentpay.WithLogger(slog.New(badHandler{method, do})))
		guarded := guardGroceries(client, &runs, spending("25", nil), opts...)
		var err error
		begun := time.Now()
		assert.Nil(t, alone(func() { _, err = guarded(t.Context(), underKey("30", "turn-7")) }))
		require.NoError(t, err)
		assert.Less(t, time.Since(begun), 5*time.Minute)
		assert.EqualValues(t, 1, runs.Load())
		confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
		usable(t, server, "turn-7")
	})
}

// A log call after a lost confirmation must not lose anything else.
func TestDefaultLoggerThatPanicsBreaksNothing(t *testing.T) {
	for _, method := range []string{"Enabled", "Handle"} {
		t.Run(method, func(t *testing.T) {
			_ = defaultLog(t)
			slog.SetDefault(slog.New(badHandler{method, func() { panic("a bug") }}))
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 503, Times: -1})
				var runs atomic.Int64
				panicked := alone(func() {
					_, _ = guardGroceries(server.Client(), &runs, func(ctx context.Context) (string, error) {
						reportSpent(ctx, "25")
						panic("after paying")
					})(t.Context(), underKey("30", "turn-7"))
				})
				assert.Equal(t, "after paying", panicked, "the function's own panic continues")
				server.ClearFaults()
				usable(t, server, "turn-7")
			})
		})
	}
}

func TestInvalidSpentKeepsWhatWasRecorded(t *testing.T) {
	invalid := map[string]letagentpay.Amount{
		"zero":     {},
		"negative": letagentpay.Amount{}.Sub(letagentpay.MustAmount("5")),
	}
	for name, amount := range invalid {
		for recorded, body := range map[string]string{
			"60": `{"success":true,"actual_amount":60.00,"receipt_url":"https://shop.example/r"}`,
			"25": `{"success":true,"actual_amount":25.00,"receipt_url":"https://shop.example/r"}`,
		} {
			t.Run(name+" after "+recorded, func(t *testing.T) {
				s := approving(t)
				approval, err := s.client().Authorize(t.Context(), groceries())
				require.NoError(t, err)
				_ = approval.Spent(letagentpay.MustAmount(recorded), "https://shop.example/r")
				for range 2 {
					require.ErrorIs(t, approval.Spent(amount, ""), letagentpay.ErrInvalid)
					require.ErrorIs(t, approval.Spent(amount, "https://shop.example/another"), letagentpay.ErrInvalid)
				}
				require.NoError(t, approval.Settle(t.Context(), nil))
				assert.JSONEq(t, body, s.recorded()[1].Body)
			})
		}
	}
	t.Run("a receipt that is too long", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		require.NoError(t, approval.Spent(letagentpay.MustAmount("25"), "https://shop.example/r"))
		require.ErrorIs(t, approval.Spent(letagentpay.MustAmount("26"), strings.Repeat("x", 2001)),
			letagentpay.ErrInvalid)
		require.NoError(t, approval.Settle(t.Context(), errShop))
		assert.JSONEq(t, `{"success":true,"actual_amount":26.00,"receipt_url":"https://shop.example/r"}`,
			s.recorded()[1].Body)
	})
	t.Run("a valid one replaces an invalid one", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		require.ErrorIs(t, approval.Spent(letagentpay.Amount{}, ""), letagentpay.ErrInvalid)
		require.NoError(t, approval.Spent(letagentpay.MustAmount("25"), ""))
		require.NoError(t, approval.Settle(t.Context(), errShop))
		assert.JSONEq(t, `{"success":true,"actual_amount":25.00}`, s.recorded()[1].Body)
	})
	t.Run("an invalid one alone counts as the amount approved", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		require.ErrorIs(t, approval.Spent(letagentpay.Amount{}, ""), letagentpay.ErrInvalid)
		require.NoError(t, approval.Settle(t.Context(), errShop))
		assert.JSONEq(t, `{"success":true}`, s.recorded()[1].Body, "something was paid")
	})
}

// amountOf parses an amount that may exceed the limit for a purchase.
func amountOf(t *testing.T, text string) letagentpay.Amount {
	t.Helper()
	var amount letagentpay.Amount
	require.NoError(t, amount.UnmarshalText([]byte(text)))
	return amount
}

// mostAmount returns the largest amount that an Amount can hold.
func mostAmount(t *testing.T) letagentpay.Amount {
	t.Helper()
	var most letagentpay.Amount
	for range 9 {
		most = most.Add(amountOf(t, "999999999999.999999"))
	}
	return most.Add(amountOf(t, "223372036854.775816"))
}

func TestHugeSpentIsConfirmedAsTheMostThatTheServiceTakes(t *testing.T) {
	for name, amount := range map[string]letagentpay.Amount{
		"the largest":           mostAmount(t),
		"a little less":         mostAmount(t).Sub(amountOf(t, "0.004")),
		"a trillion":            amountOf(t, "999999999999.999999"),
		"just above the bound":  amountOf(t, "9999999.01"),
		"rounded up to the cap": amountOf(t, "9999998.995"),
	} {
		t.Run(name, func(t *testing.T) {
			s := approving(t)
			approval, err := s.client().Authorize(t.Context(), groceries())
			require.NoError(t, err)
			err = approval.Spent(amount, "")
			var overspent *letagentpay.OverspendError
			require.ErrorAs(t, err, &overspent)
			assert.Equal(t, amount, overspent.Actual, "the amount really spent")
			require.NoError(t, approval.Settle(t.Context(), nil))
			assert.JSONEq(t, `{"success":true,"actual_amount":9999999.00}`, s.recorded()[1].Body)
		})
	}
}

// A slow journal uses only its share of the time for a confirmation.
func TestSlowJournalLeavesTheConfirmationItsTime(t *testing.T) {
	_ = defaultLog(t)
	for _, slow := range []time.Duration{4 * time.Second, 11 * time.Second, time.Hour} {
		t.Run(slow.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := &troubledJournal{trouble: func(op string, state journalState) {
					if op == "put" && state == stateReturned {
						time.Sleep(slow)
					}
				}}
				// The first confirmation is lost as well.
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Drop: letagentpaytest.DropBefore})
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal))(
					t.Context(), price("30"))
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status, "the service is healthy")
			})
		})
	}
}

// A connection that hangs, for example one that a NAT has dropped, does not use up the whole time.
func TestOneHangingAttemptOfAConfirmationIsFollowedByAnother(t *testing.T) {
	for name, first := range map[string]func(*http.Request) (*http.Response, error){
		"hangs": hangs, "breaks": broken(errReset),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
					on("POST", "/requests/r1/confirm", first, answer(200, confirmed)).
					on("GET", "/requests/r1", answer(200, detail("auto_approved")))
				var runs atomic.Int64
				begun := time.Now()
				_, err := guardGroceries(s.client(), &runs, spending("47.50", nil))(t.Context(), groceries())
				require.NoError(t, err, "only one connection is lost")
				assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
				assert.Equal(t, []string{postPurchase, postConfirm, getRequest, postConfirm}, s.paths())
			})
		})
	}
	t.Run("and a read that hangs", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
				on("POST", "/requests/r1/confirm", broken(errReset), answer(200, confirmed)).
				on("GET", "/requests/r1", hangs, answer(200, detail("auto_approved")))
			approval, err := s.client().Authorize(t.Context(), groceries())
			require.NoError(t, err)
			begun := time.Now()
			err = approval.Settle(t.Context(), nil)
			assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
			if err != nil {
				require.NoError(t, approval.Settle(t.Context(), nil), "Settle can be repeated")
			}
			assert.Equal(t, postConfirm, s.paths()[len(s.paths())-1])
		})
	})
}

func TestLostConfirmationIsReportedWhenTheFunctionDoesNotReturn(t *testing.T) {
	ways := map[string]func(){
		"panics": mischief["panics"], "ends": runtime.Goexit, "panics with nil": mischief["panics with nil"],
	}
	for name, do := range ways {
		for _, spent := range []bool{true, false} {
			for _, given := range []bool{false, true} {
				t.Run(fmt.Sprint(name, ", spent ", spent, ", logger given ", given), func(t *testing.T) {
					standard := defaultLog(t)
					inBubble(t, func(t *testing.T) {
						server := serve(t)
						server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
						var opts []letagentpay.Option
						own := new(lockedBuffer)
						if given {
							opts = append(opts, letagentpay.WithLogger(logTo(own)))
						}
						var runs atomic.Int64
						_ = alone(func() {
							_, _ = guardGroceries(server.Client(opts...), &runs,
								func(ctx context.Context) (string, error) {
									if spent {
										reportSpent(ctx, "25")
									}
									do()
									return "", nil
								})(t.Context(), price("30"))
						})
						reporting, silent := standard, own
						if given {
							reporting, silent = own, standard
						}
						assert.Contains(t, reporting.String(), "letagentpay.unconfirmed")
						assert.Contains(t, reporting.String(), server.Requests()[0].RequestID)
						assert.Empty(t, silent.String())
						books(t, server, "30.00", "0.00")
					})
				})
			}
		}
	}
}

func TestWhatTheCallerIsToldOfIsNotLoggedAsWell(t *testing.T) {
	standard := defaultLog(t)
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
		var runs atomic.Int64
		_, err := guardGroceries(server.Client(), &runs, spending("25", nil))(t.Context(), price("30"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		assert.Empty(t, standard.String())
	})
}

func TestHugeErrorTextIsCutForTheJournal(t *testing.T) {
	for name, text := range map[string]string{
		"ASCII":                strings.Repeat("x", 17<<20),
		"letters of two bytes": strings.Repeat("ü", 9<<20),
		"no UTF-8":             strings.Repeat("\xff", 3<<20),
	} {
		for doubt, err := range map[string]error{
			"certain":  errors.New(text),
			"in doubt": fmt.Errorf("%s %w", text, context.DeadlineExceeded),
		} {
			t.Run(name+", "+doubt, func(t *testing.T) {
				server := serve(t)
				longest := 0
				journal := &memoryJournal{fail: func(_ string, e *journalEntry) error {
					if e != nil {
						longest = max(longest, len(e.Error))
					}
					return nil
				}}
				var runs atomic.Int64
				_, got := guardGroceries(server.Client(), &runs,
					func(context.Context) (string, error) { return "", err },
					letagentpay.WithJournal(journal))(t.Context(), underKey("5", "turn-7"))
				require.ErrorIs(t, got, err, "the caller gets the error of its function")
				assert.Less(t, longest, 1<<20, "journals limit the size of entries")
				assert.Positive(t, longest)
				_, got = guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(
					t.Context(), underKey("5", "turn-7"))
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, got, &handled)
				assert.Less(t, len(got.Error()), 1<<20)
				assert.EqualValues(t, 1, runs.Load())
			})
		}
	}
}

func TestSettledEntryThatCannotBeWrittenIsNoErrorOfTheCall(t *testing.T) {
	for name, fn := range map[string]func(context.Context) (string, error){
		"success": spending("25", nil), "failure": func(context.Context) (string, error) { return "", errShop },
	} {
		t.Run(name, func(t *testing.T) {
			standard := defaultLog(t)
			server := serve(t)
			journal := &memoryJournal{fail: func(op string, e *journalEntry) error {
				if op == "put" && e.State == stateSettled {
					return errors.New("disk full")
				}
				return nil
			}}
			var runs atomic.Int64
			guarded := guardGroceries(server.Client(), &runs, fn, letagentpay.WithJournal(journal))
			_, err := guarded(t.Context(), underKey("30", "turn-7"))
			if name == "success" {
				require.NoError(t, err, "the function ran and is confirmed, and the journal has its result")
			} else {
				assert.Equal(t, errShop, err)
			}
			assert.True(t, server.Requests()[0].Status.Final())
			assert.Contains(t, standard.String(), "disk full")
			assert.Contains(t, standard.String(), server.Requests()[0].RequestID)
			journal.fail = nil
			_, _ = guarded(t.Context(), underKey("30", "turn-7"))
			assert.EqualValues(t, 1, runs.Load())
			interrupted, err := server.Client().Recover(t.Context(), journal)
			require.NoError(t, err)
			assert.Empty(t, interrupted)
			assert.Equal(t, []string{"settled"}, journal.states())
		})
	}
}

func TestLateSpentIsReportedWithItsAmount(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		given  bool
		status string
	}{
		"refunded":               {errShop, false, "failed"},
		"refunded, own logger":   {errShop, true, "failed"},
		"in doubt":               {context.DeadlineExceeded, false, "nothing"},
		"completed as requested": {nil, false, "completed"},
	} {
		t.Run(name, func(t *testing.T) {
			standard := defaultLog(t)
			server := serve(t)
			var opts []letagentpay.Option
			own := new(lockedBuffer)
			if c.given {
				opts = append(opts, letagentpay.WithLogger(logTo(own)))
			}
			var runs atomic.Int64
			later, begin := make(chan error), make(chan struct{})
			_, err := guardGroceries(server.Client(opts...), &runs, func(ctx context.Context) (string, error) {
				approval, _ := letagentpay.ApprovalFromContext(ctx)
				go func() { <-begin; later <- approval.Spent(letagentpay.MustAmount("25.5"), "") }()
				return "", c.err
			})(t.Context(), price("30"))
			require.ErrorIs(t, err, c.err)
			close(begin)
			require.ErrorIs(t, <-later, letagentpay.ErrSettled)
			reporting, silent := standard, own
			if c.given {
				reporting, silent = own, standard
			}
			assert.Contains(t, reporting.String(), "25.50")
			assert.Contains(t, reporting.String(), "confirmed_as="+c.status)
			assert.Contains(t, reporting.String(), server.Requests()[0].RequestID)
			assert.NotContains(t, silent.String(), "25.50")
		})
	}
}

// slowRefunds is a service that handles confirmations slowly behind a gateway that gives up on them at once. It reads
// the request at the beginning of a confirmation and commits at the end, so that two at the same time refund twice.
type slowRefunds struct {
	mu      sync.Mutex
	status  string
	refunds int
	began   int
	commit  time.Duration
}

func (s *slowRefunds) client(t *testing.T, opts ...letagentpay.Option) *letagentpay.Client {
	service := newService(t).on("POST", "/requests", answer(201, autoApproved))
	return service.client(append([]letagentpay.Option{through(exchange(func(r *http.Request) (*http.Response, error) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/confirm"):
			return s.confirm(r)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/r1"):
			s.mu.Lock()
			defer s.mu.Unlock()
			return answer(200, detail(s.status))(r)
		default:
			return service.mock.RoundTrip(r)
		}
	}))}, opts...)...)
}

func (s *slowRefunds) confirm(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != "auto_approved" {
		return answer(400, `{"detail":"Cannot confirm request with status '`+s.status+`'"}`)(r)
	}
	s.began++
	go func() {
		time.Sleep(s.commit)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.status = "failed"
		s.refunds++
	}()
	return nil, errReset // the gateway has given up
}

// failedPurchase is a purchase whose function has failed.
type failedPurchase struct {
	service  *slowRefunds
	client   *letagentpay.Client
	approval *letagentpay.Approval
	journal  *memoryJournal
}

func TestSlowFailureConfirmationRefundsOnce(t *testing.T) {
	for _, commit := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, 50 * time.Second} {
		for name, then := range map[string]func(t *testing.T, p failedPurchase){
			"nothing more": func(*testing.T, failedPurchase) {},
			"Settle again": func(t *testing.T, p failedPurchase) {
				for range 3 {
					_ = p.approval.Settle(t.Context(), errShop)
				}
			},
			"Confirm": func(t *testing.T, p failedPurchase) {
				for range 3 {
					_, _ = p.client.Confirm(t.Context(), "R1", letagentpay.ConfirmParams{})
				}
			},
			"Confirm through many clients": func(t *testing.T, p failedPurchase) {
				var group sync.WaitGroup
				for range 4 {
					other := p.service.client(t, letagentpay.WithBaseURL(p.client.BaseURL()))
					group.Go(func() { _, _ = other.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{}) })
				}
				group.Wait()
			},
			"Recover": func(t *testing.T, p failedPurchase) {
				for range 3 {
					_, _ = p.client.Recover(t.Context(), p.journal)
				}
			},
			"all of them": func(t *testing.T, p failedPurchase) {
				_ = p.approval.Settle(t.Context(), errShop)
				_, _ = p.client.Recover(t.Context(), p.journal)
				_, _ = p.client.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
				_ = p.approval.Settle(t.Context(), errShop)
			},
		} {
			t.Run(commit.String()+", "+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					s, journal := &slowRefunds{status: "auto_approved", commit: commit}, new(memoryJournal)
					client := s.client(t)
					approval, err := client.Authorize(t.Context(), groceries(), letagentpay.WithJournal(journal))
					require.NoError(t, err)
					err = approval.Settle(t.Context(), errShop)
					assert.Equal(t, commit > 10*time.Second, err != nil)
					if err != nil {
						var unconfirmed *letagentpay.UnconfirmedError
						require.ErrorAs(t, err, &unconfirmed)
						var unknown *letagentpay.OutcomeUnknownError
						require.ErrorAs(t, err, &unknown)
					}
					then(t, failedPurchase{s, client, approval, journal})
					time.Sleep(2 * time.Minute)
					require.NoError(t, approval.Settle(t.Context(), errShop), "the request now shows the outcome")
					assert.Equal(t, 1, s.refunds, "refunds of one purchase")
					assert.Equal(t, 1, s.began)
				})
			})
		}
	}
}

func TestApprovalIsConfirmedOnceHoweverManySettleIt(t *testing.T) {
	_ = defaultLog(t)
	for range 30 {
		server := serve(t)
		approval, err := server.Client().Authorize(t.Context(), price("30"),
			letagentpay.WithJournal(new(memoryJournal)))
		require.NoError(t, err)
		var none *shopError
		var noContext context.Context
		var group sync.WaitGroup
		for i := range 12 {
			group.Go(func() {
				switch i % 4 {
				case 0:
					_ = approval.Spent(letagentpay.MustAmount("25"), "")
				case 1:
					_ = approval.Settle(t.Context(), nil)
				case 2:
					_ = approval.Settle(t.Context(), fmt.Errorf("x: %w", errShop))
				case 3:
					_ = approval.Settle(noContext, letagentpay.NotPaid(none))
				}
			})
		}
		group.Wait()
		assert.True(t, server.Requests()[0].Status.Final())
		assert.Len(t, server.Calls().Of(operation.Confirm), 1)
	}
}

func TestWhatDoesNotReturnIsSettled(t *testing.T) {
	for _, name := range []string{"panics", "panics with nil", "aborts", "ends"} {
		for _, spent := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", spent ", spent), func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					var runs atomic.Int64
					_ = alone(func() {
						_, _ = guardGroceries(server.Client(), &runs, func(ctx context.Context) (string, error) {
							if spent {
								reportSpent(ctx, "25")
							}
							mischief[name]()
							return "", nil
						}, opts...)(t.Context(), underKey("30", "turn-7"))
					})
					if spent {
						confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
					} else {
						confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
					}
					usable(t, server, "turn-7")
				})
			})
		}
	}
}

// countedEnds is an observer that counts the ends of an operation.
type countedEnds struct {
	op   operation.Op
	ends atomic.Int64
}

func (c *countedEnds) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	return ctx, func(letagentpay.Observation) {
		if op == c.op {
			c.ends.Add(1)
		}
	}
}

func TestSettledTwiceIsReportedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		observer := &countedEnds{op: operation.Guard}
		approval, err := server.Client(letagentpay.WithObserver(observer)).Authorize(t.Context(), price("5"))
		require.NoError(t, err)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		require.Error(t, approval.Settle(t.Context(), nil))
		require.NoError(t, approval.Settle(t.Context(), nil))
		require.NoError(t, approval.Settle(t.Context(), nil))
		assert.EqualValues(t, 1, observer.ends.Load())
	})
}

// An observer sees one end of each operation, however the call ends.
func TestGuardedCallIsReportedOnceHoweverItEnds(t *testing.T) {
	for name, c := range map[string]struct {
		amount string
		fn     func(context.Context) (string, error)
	}{
		"success":  {"5", succeed},
		"failure":  {"5", func(context.Context) (string, error) { return "", errShop }},
		"in doubt": {"5", func(context.Context) (string, error) { return "", context.DeadlineExceeded }},
		"panic":    {"5", func(context.Context) (string, error) { panic("a bug") }},
		"exit":     {"5", func(context.Context) (string, error) { runtime.Goexit(); return "", nil }},
		"pending":  {"60", succeed},
		"rejected": {"201", succeed},
		"invalid":  {"0.001", succeed},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			observer := &countedEnds{op: operation.Guard}
			var runs atomic.Int64
			_ = alone(func() {
				_, _ = guardGroceries(server.Client(letagentpay.WithObserver(observer)), &runs, c.fn,
					letagentpay.OnPendingFail())(t.Context(), price(c.amount))
			})
			want := int64(1)
			if name == "invalid" { // the call does not begin
				want = 0
			}
			assert.Equal(t, want, observer.ends.Load())
		})
	}
}

// ctxJournal is a journal that fails under a context that has ended.
type ctxJournal struct{ memoryJournal }

func (j *ctxJournal) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.memoryJournal.Delete(ctx, key)
}

func (j *ctxJournal) Put(ctx context.Context, entry *journalEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.memoryJournal.Put(ctx, entry)
}

func TestRefusedPurchaseIsForgottenAlthoughTheContextHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		server.Pause()
		ctx, cancel := context.WithCancel(t.Context())
		journal := new(ctxJournal)
		var runs atomic.Int64
		client := server.Client(letagentpay.WithObserver(endings(func(op operation.Op) {
			if op == operation.Purchase {
				cancel()
			}
		})))
		_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(ctx, price("5"))
		require.ErrorIs(t, err, letagentpay.ErrForbidden)
		assert.Empty(t, journal.states())
	})
}

// The context ends while the function runs. Its outcome is still recorded.
func TestOutcomeIsWrittenDownAlthoughTheContextHasEnded(t *testing.T) {
	for name, fn := range map[string]func(context.Context) (string, error){
		"success": spending("25", nil), "failure": func(context.Context) (string, error) { return "", errShop },
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(t.Context())
			journal := new(ctxJournal)
			var runs atomic.Int64
			_, _ = guardGroceries(server.Client(), &runs, func(ctx context.Context) (string, error) {
				cancel()
				return fn(ctx)
			}, letagentpay.WithJournal(journal))(ctx, price("30"))
			assert.Equal(t, []string{"settled"}, journal.states())
			assert.True(t, server.Requests()[0].Status.Final())
		})
	}
}

func TestErrorMethodsDoNotHoldALoggedCall(t *testing.T) {
	for name, do := range mischief {
		t.Run(name, func(t *testing.T) {
			misbehavingError(t, do, true, letagentpay.WithLogger(logTo(new(lockedBuffer))))
		})
	}
}

// The logger misbehaves from the function's return on.
func TestLoggersThatDoNotReturnCannotStopTheConfirmation(t *testing.T) {
	for _, name := range []string{"ends", "hangs for 11 s", "hangs for an hour"} {
		for _, method := range []string{"Enabled", "Handle"} {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " in ", method, ", first confirmation lost ", lost), func(t *testing.T) {
					withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
						server := serve(t)
						var ran atomic.Bool
						client := server.Client(letagentpay.WithLogger(slog.New(badHandler{method, func() {
							if ran.Load() {
								mischief[name]()
							}
						}})))
						if lost {
							server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Drop: letagentpaytest.DropBefore})
						}
						var runs atomic.Int64
						begun, returned := time.Now(), false
						assert.Nil(t, alone(func() {
							_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
								ran.Store(true)
								reportSpent(ctx, "25")
								return "receipt", nil
							}, opts...)(t.Context(), underKey("30", "turn-7"))
							assert.NoError(t, err)
							returned = true
						}))
						assert.True(t, returned)
						assert.Less(t, time.Since(begun), 5*time.Minute)
						assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
						books(t, server, "25.00", "0.00")
						ran.Store(false)
						usable(t, server, "turn-7")
					})
				})
			}
		}
	}
}

// endedContexts is an observer that gives operations a context that has ended.
type endedContexts struct{ op operation.Op }

func (o endedContexts) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	if op == o.op {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	return ctx, func(letagentpay.Observation) {}
}

func TestContextsOfObserversCannotStopTheConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		client := server.Client(letagentpay.WithObserver(endedContexts{operation.Confirm}))
		_, err := guardGroceries(client, &runs, spending("25", nil))(t.Context(), price("30"))
		require.NoError(t, err)
		confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
	})
}

// stoppedAfterPosting is a transport that ends a context as soon as a purchase is answered.
func stoppedAfterPosting(next http.RoundTripper, stop func()) exchange {
	return func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/requests") {
			data, readErr := io.ReadAll(response.Body)
			response.Body, err = io.NopCloser(bytes.NewReader(data)), readErr
			stop()
		}
		return response, err
	}
}

func TestNothingRunsUnderARequestWhoseRefundMayStillBeHandled(t *testing.T) {
	for name, c := range map[string]struct{ key, resumed, journal, restarted bool }{
		"repeated":                        {key: true},
		"resumed":                         {key: true, resumed: true},
		"resumed, random key":             {resumed: true},
		"repeated, journal":               {key: true, journal: true},
		"repeated after a restart":        {key: true, journal: true, restarted: true},
		"resumed after a restart":         {resumed: true, journal: true, restarted: true},
		"resumed, random key and journal": {resumed: true, journal: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t, letagentpaytest.WithServiceRaces(letagentpaytest.Races{Confirm: 12 * time.Second}))
				var opts []letagentpay.GuardOption
				if c.journal {
					opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
				}
				purchase := price("30")
				if c.key {
					purchase = underKey("30", "turn-7")
				}
				ctx, cancel := context.WithCancel(t.Context())
				client := server.Client(through(stoppedAfterPosting(server.HTTPClient().Transport, cancel)))
				var runs atomic.Int64
				_, err := guardGroceries(client, &runs, succeed, opts...)(ctx, purchase)
				require.ErrorIs(t, err, context.Canceled)
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed, "it is unknown whether the refund arrived")

				again, second := t.Context(), server.Client()
				if c.restarted {
					second = server.Client(elsewhere())
				}
				if c.resumed {
					again = letagentpay.ResumeApproval(again, server.Requests()[0].RequestID)
				}
				_, err = guardGroceries(second, &runs, func(context.Context) (string, error) {
					time.Sleep(30 * time.Second)
					return "receipt", nil
				}, opts...)(again, purchase)
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
				assert.Zero(t, runs.Load())
				time.Sleep(time.Minute)
				assert.Equal(t, letagentpay.StatusFailed, server.Requests()[0].Status)
				books(t, server, "0.00", "0.00")
			})
		})
	}
}

func TestNothingRunsUnderARequestThatIsBeingConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t, letagentpaytest.WithServiceRaces(letagentpaytest.Races{Confirm: 20 * time.Second}))
		client := server.Client()
		purchase, err := client.Purchase(t.Context(), price("30"))
		require.NoError(t, err)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := client.Confirm(t.Context(), purchase.RequestID, letagentpay.ConfirmParams{})
			assert.NoError(t, err)
		})
		time.Sleep(time.Second)
		var runs atomic.Int64
		_, err = guardGroceries(client, &runs, succeed)(letagentpay.ResumeApproval(t.Context(), purchase.RequestID),
			price("30"))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		group.Wait()
		assert.Zero(t, runs.Load())
		books(t, server, "0.00", "0.00")
	})
}

// A journal write that outlives its call must not undo what a later call writes.
func TestLateWriteOfTheJournalUndoesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var slow atomic.Bool
		slow.Store(true)
		journal := &lateJournal{slow: &slow}
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("30", "turn-7"))
		var journalError *letagentpay.JournalError
		require.ErrorAs(t, err, &journalError)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		for range 3 { // until the late write ends
			_, _ = guarded(t.Context(), underKey("30", "turn-7"))
		}
		time.Sleep(time.Minute)
		assert.EqualValues(t, 1, runs.Load())
		assert.NotContains(t, journal.states(), "requested")

		restarted := server.Client(elsewhere())
		_, err = restarted.Recover(t.Context(), journal)
		require.NoError(t, err)
		_, err = guardGroceries(restarted, &runs, spending("25", nil), letagentpay.WithJournal(journal))(
			t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "25.00", "0.00")
	})
}

// lateJournal takes 11 s for its first write.
type lateJournal struct {
	memoryJournal
	slow *atomic.Bool
}

func (j *lateJournal) Put(ctx context.Context, entry *journalEntry) error {
	if j.slow.Swap(false) {
		time.Sleep(11 * time.Second)
	}
	return j.memoryJournal.Put(ctx, entry)
}
