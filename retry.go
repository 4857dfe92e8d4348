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

// shouldRetry is called with the response alone if one arrived, and again with the error of receive or of the
// transport.
func (cl *call) shouldRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	failure, received := err.(*APIError) // from receive; a network error may only wrap one, of another client
	if !received {
		cl.lastDuration = time.Since(cl.started)
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
	wait := slog.Duration("wait", cl.wait)
	cl.transport.log(ctx, slog.LevelWarn, "letagentpay.retry", cl, failure.StatusCode, cl.last, wait)
	return true, nil
}

// networkFailure returns the failure of an attempt that got no response.
func (cl *call) networkFailure(err error) *APIError {
	if wrapped, ok := err.(*url.Error); ok { // http.Client wraps errors with the method and the URL
		err = wrapped.Err
	}
	err = panicSafe(err)
	unsent := neverSent(err)
	return &APIError{Err: cl.transport.redactError(err), unsent: unsent, untrusted: unsent && isUntrusted(err)}
}

// neverSent reports whether an error proves that nothing was sent: no connection was made, or the server could not
// prove its identity. Joined errors may stem from several attempts, so each of them must prove it.
func neverSent(err error) bool {
	switch e := err.(type) { // not errors.As: each error of the tree counts
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

// isUntrusted reports whether the server could not prove its identity. A retry would fail as well.
func isUntrusted(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return certificate
}

// mayRetry reports whether the last failure allows another attempt.
func (cl *call) mayRetry() bool {
	switch {
	case cl.last.unsent:
		return !cl.last.untrusted
	case cl.last.StatusCode/100 == 3:
		return false // the next attempt would be redirected as well
	case cl.last.mayHaveTakenEffect():
		// The caller of a write finds out first what became of it.
		return cl.request.Method == http.MethodGet && cl.last.isRetryable()
	default:
		return cl.last.Is(ErrRateLimited)
	}
}

// nextWait returns the pause before the next attempt. It grows exponentially, with jitter, and is never shorter than
// the server's Retry-After, up to a cap.
func (cl *call) nextWait() time.Duration {
	wait := backoff(cl.attempts-1, retryBase, retryCap)
	if cl.last.Is(ErrRateLimited) {
		wait = backoff(cl.attempts-1, rateLimitBase, rateLimitCap)
	}
	return max(wait, cl.last.retryAfter)
}

// backoff returns the pause that shouldRetry has chosen.
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

// pauseWithinHalf pauses after the nth write with an unclear outcome, at least for as long as that write took. If ctx
// leaves less time, it pauses for half of that time, so that the other half remains for a read, and returns false.
func pauseWithinHalf(ctx context.Context, n int, lasted time.Duration) (full bool, err error) {
	wait, full := max(settlePause, backoff(n, retryBase, retryCap), lasted), true
	if deadline, ok := ctx.Deadline(); ok {
		if half := time.Until(deadline) / 2; half < wait {
			wait, full = half, false
		}
	}
	return full, sleep(ctx, wait)
}

// sleep waits for d, or until ctx ends and then returns its error.
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
