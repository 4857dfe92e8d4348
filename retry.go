package letagentpay

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// shouldRetry is called with the answer alone when one arrived, and once more with what receive made of it.
func (cl *call) shouldRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	failure, received := err.(*APIError) // as receive returns it; a network error may wrap one of another client
	if !received {
		cl.lasted = time.Since(cl.started)
		failure = cl.networkFailure(err)
	}
	cl.last = cl.failure(failure)
	if cl.last.mayHaveTakenEffect() {
		cl.unclear = true
	}
	cl.transport.log(ctx, slog.LevelDebug, "letagentpay.attempt", cl, failure.StatusCode, cl.last)
	if ctx.Err() != nil || cl.once || cl.attempts > cl.transport.maxRetries || !cl.mayRetry() {
		return false, cl.last
	}
	cl.wait = cl.nextWait()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= cl.wait {
		cl.last = cl.failure(cl.last.because(errNoTime))
		return false, cl.last
	}
	cl.transport.log(ctx, slog.LevelWarn, "letagentpay.retry", cl, failure.StatusCode, cl.last, slog.Duration("wait", cl.wait))
	return true, nil
}

// networkFailure describes an attempt that got no answer.
func (cl *call) networkFailure(err error) *APIError {
	if wrapped, ok := err.(*url.Error); ok { // http.Client's own wrapping, which repeats the method and the URL
		err = wrapped.Err
	}
	err = panicSafe(err)
	unsent := neverSent(err)
	return &APIError{Err: cl.transport.redactError(err), unsent: unsent, untrusted: unsent && isUntrusted(err)}
}

// neverSent reports whether an error says by itself that nothing was sent: there was no connection, or the server could
// not prove who it is. Joined errors may be of several attempts, so each of them must say so.
func neverSent(err error) bool {
	switch e := err.(type) { // each error of the tree is looked at by itself
	case *net.OpError:
		return e.Op == "dial" || e.Op == "proxyconnect"
	case *net.DNSError, *tls.CertificateVerificationError:
		return true
	case interface{ Unwrap() []error }:
		errs := e.Unwrap()
		return len(errs) > 0 && !slices.ContainsFunc(errs, func(err error) bool { return !neverSent(err) })
	case interface{ Unwrap() error }:
		return neverSent(e.Unwrap())
	}
	return false
}

// isUntrusted reports whether the server could not prove who it is, so that repeating is in vain.
func isUntrusted(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return certificate
}

func (cl *call) mayRetry() bool {
	switch {
	case cl.last.unsent:
		return !cl.last.untrusted
	case cl.last.StatusCode/100 == 3:
		return false // the next attempt would be sent elsewhere as well
	case cl.last.mayHaveTakenEffect():
		return cl.request.Method == http.MethodGet && cl.last.isRetryable() // what becomes of a write is its caller's to find out
	default:
		return cl.last.Is(ErrRateLimited)
	}
}

// nextWait returns the pause before the next attempt: exponential with jitter, never shorter than the server asks
// (up to a cap).
func (cl *call) nextWait() time.Duration {
	wait := backoff(cl.attempts-1, retryBase, retryCap)
	if cl.last.Is(ErrRateLimited) {
		wait = backoff(cl.attempts-1, rateLimitBase, rateLimitCap)
	}
	return max(wait, cl.last.retryAfter)
}

func (cl *call) backoff(time.Duration, time.Duration, int, *http.Response) time.Duration {
	return cl.wait
}

// backoff returns a random duration between half and the whole of base·2ⁿ, at most limit.
func backoff(n int, base, limit time.Duration) time.Duration {
	full := limit
	if n < 20 {
		full = min(base<<n, limit)
	}
	return full/2 + rand.N(full/2+1)
}

// pauseWithinHalf pauses for as long as a write with an unclear outcome has lasted, and longer the more often that has happened.
// Where ctx leaves less time, it takes half of it, so that the other half is there for a read, and returns false.
func pauseWithinHalf(ctx context.Context, n int, lasted time.Duration) (rested bool, err error) {
	wait, rested := max(settlePause, backoff(n, retryBase, retryCap), lasted), true
	if deadline, ok := ctx.Deadline(); ok {
		if half := time.Until(deadline) / 2; half < wait {
			wait, rested = half, false
		}
	}
	return rested, sleep(ctx, wait)
}

// sleep waits for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
